// Runs one codec on vectors from a file and writes all that it made as raw little-endian arrays,
// one file each, for codec_check.py.
//
// usage: tern_codec_dump kv SCHEME SCALE DIM SEED VECTORS OUT
//        tern_codec_dump mse|prod ROTATION BITS DIM SEED VECTORS OUT
// VECTORS: float32 [count, DIM]. The instruction set is TERN_ISA's.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "quant/kv_codec.h"
#include "quant/turboquant.h"

namespace tern::quant {
namespace {

struct Arguments {
  std::string codec, kind, choice;
  std::size_t dim;
  std::uint64_t seed;
  std::vector<float> x;
  std::string out;

  std::size_t count() const { return x.size() / dim; }
};

std::vector<float> read_floats(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::vector<float> values(static_cast<std::size_t>(file.tellg()) / sizeof(float));
  file.seekg(0).read(reinterpret_cast<char*>(values.data()),
                     static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

template <class Values>
void write(const Arguments& arguments, const std::string& name, const Values& values) {
  std::ofstream file(arguments.out + "/" + name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(std::data(values)),
             static_cast<std::streamsize>(std::size(values) * sizeof(*std::data(values))));
}

void write(const Arguments& arguments, const Codebook& codebook) {
  write(arguments, "levels", codebook.levels);
  write(arguments, "bounds", codebook.bounds);
}

bool run_kv(const Arguments& a) {
  const KvScale scale = a.choice == "searched"        ? KvScale::searched
                        : a.choice == "least_squares" ? KvScale::least_squares
                                                      : KvScale::norm;
  const auto scheme = kv_scheme(a.kind);
  const auto codec = scheme ? KvCodec::create(*scheme, a.dim, a.seed, scale)
                            : fail(ErrorCode::usage, "unknown scheme " + a.kind);
  if (!codec) return false;
  const std::size_t scales = codec->scales(), biases = codec->has_bias() ? scales : 0;
  std::vector<std::uint8_t> codes(a.x.size());
  std::vector<std::uint16_t> all_scales(a.count() * scales), all_biases(a.count() * biases);
  std::vector<float> decoded(a.x.size());
  for (std::size_t v = 0; v < a.count(); ++v) {
    const auto part = [v](auto& values, std::size_t size) {
      return std::span(values).subspan(v * size, size);
    };
    codec->encode(part(a.x, a.dim), part(codes, a.dim), part(all_scales, scales),
                  part(all_biases, biases));
    codec->decode(part(codes, a.dim), part(all_scales, scales), part(all_biases, biases),
                  part(decoded, a.dim));
  }
  write(a, "parameters", codec->rotation().parameters());
  for (std::size_t r = 0; r < codec->runs().size(); ++r)
    write(a, "levels" + std::to_string(r), codec->runs()[r].levels);
  write(a, "codes", codes);
  write(a, "scales", all_scales);
  write(a, "biases", all_biases);
  write(a, "decoded", decoded);
  return true;
}

bool run_mse(const Arguments& a) {
  const auto kind = rotation_kind(a.kind);
  if (!kind) return false;
  const auto bits = static_cast<unsigned>(std::stoul(a.choice));
  const auto mse = TurboMse::create(Rotation::make(*kind, a.dim, a.seed), bits);
  if (!mse) return false;
  const MseCodes codes = mse->encode(a.x);
  std::vector<float> decoded(a.x.size());
  mse->decode(codes, decoded);
  write(a, "parameters", mse->rotation().parameters());
  write(a, mse->codebook());
  write(a, "codes", codes.index);
  write(a, "norm", codes.norm);
  write(a, "decoded", decoded);
  return true;
}

bool run_prod(const Arguments& a) {
  const auto kind = rotation_kind(a.kind);
  if (!kind) return false;
  const auto bits = static_cast<unsigned>(std::stoul(a.choice));
  const Rotation rotation = Rotation::make(*kind, a.dim, a.seed);
  const GaussianProjection projection = GaussianProjection::make(a.dim, a.seed + 1);
  const auto prod = TurboProd::create(rotation, projection, bits);
  if (!prod) return false;
  const ProdCodes codes = prod->encode(a.x);
  std::vector<float> decoded(a.x.size());
  prod->decode(codes, decoded);
  write(a, "parameters", rotation.parameters());
  write(a, "projection", projection.columns());
  if (bits > 1) write(a, sphere_codebook(a.dim, bits - 1));
  write(a, "codes", codes.index);
  write(a, "sign", codes.sign);
  write(a, "norm", codes.norm);
  write(a, "residual", codes.residual);
  write(a, "decoded", decoded);
  return true;
}

}  // namespace
}  // namespace tern::quant

int main(int argc, char** argv) {
  using namespace tern::quant;
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() != 7) return 2;
  const Arguments a{words[0],
                    words[1],
                    words[2],
                    std::stoul(words[3]),
                    std::stoull(words[4]),
                    read_floats(words[5]),
                    words[6]};
  const bool done = a.codec == "kv"     ? run_kv(a)
                    : a.codec == "mse"  ? run_mse(a)
                    : a.codec == "prod" ? run_prod(a)
                                        : false;
  return done ? 0 : 1;
}
