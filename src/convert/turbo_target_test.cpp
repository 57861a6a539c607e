// TurboQuant weights as a target of conversions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include "base/test_paths.h"
#include "convert/convert.h"
#include "convert/target.h"
#include "formats/safetensors_writer.h"
#include "model/forward.h"
#include "quant/turbo_weights.h"
#include "tensor/half.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A folder of the test, gone after it.
class Scratch {
 public:
  Scratch()
      : path_(fs::temp_directory_path() /
              ("tern-quantize-" + std::to_string(::getpid()) + "-" + std::to_string(count_++))) {
    fs::create_directories(path_);
  }
  ~Scratch() { fs::remove_all(path_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  static inline int count_ = 0;
  fs::path path_;
};

formats::Checkpoint open(const fs::path& path) {
  auto checkpoint = formats::Checkpoint::open(path);
  if (!checkpoint) throw std::runtime_error(checkpoint.error().message());
  return std::move(*checkpoint);
}
formats::Checkpoint demo() {
  return open(source_dir() + "/demo/model");
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What a test asks for.
struct Wish {
  std::uint32_t bits = 4, head_bits = 4;
  std::uint64_t rotation_seed = 0;
  std::vector<Override> overrides = {};
};

Result<Plan> plan(const Source& source, const Wish& wish) {
  const Target* const target = find_target("turboquant-" + std::to_string(wish.bits));
  return target->plan(source, *target,
                      {.overrides = wish.overrides,
                       .head_bits = wish.head_bits,
                       .rotation_seed = wish.rotation_seed});
}

Result<ConvertReport> try_to(const formats::Checkpoint& checkpoint, const fs::path& to,
                             const Wish& wish, std::size_t threads = 2,
                             const ConvertOptions& options = {}) {
  ThreadPool pool(threads);
  TERN_TRY(const auto source, Source::open(checkpoint));
  TERN_TRY(const auto planned, plan(source, wish));
  return convert(planned, source, to, pool, options);
}

ConvertReport quantize(const fs::path& to, const Wish& wish, std::size_t threads = 2) {
  auto report = try_to(demo(), to, wish, threads);
  if (!report) throw std::runtime_error(report.error().message());
  return *report;
}

std::vector<float> logits(const fs::path& path, std::size_t chunk = 24) {
  const formats::Checkpoint checkpoint = open(path);
  auto model = model::Model::load(checkpoint);
  if (!model) throw std::runtime_error(model.error().message());
  std::vector<model::TokenId> tokens;
  for (std::uint32_t i = 0; i < 24; ++i) tokens.push_back(i * 79 % 2048);
  const std::size_t vocabulary = model->config().vocab_size;
  std::vector<float> out(tokens.size() * vocabulary);
  auto sequence = model->new_sequence({}, tokens.size());
  ThreadPool pool(2);
  for (std::size_t at = 0; at < tokens.size(); at += chunk) {
    const auto part = std::span(tokens).subspan(at, std::min(chunk, tokens.size() - at));
    EXPECT_TRUE(model->forward(part, *sequence, model::LogitsMode::all,
                               std::span(out).subspan(at * vocabulary, part.size() * vocabulary),
                               pool));
  }
  return out;
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    square += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / square);
}

/// The matrix of a module, decoded and turned back into the basis of its inputs.
std::vector<float> decoded(const formats::Checkpoint& coded, const std::string& module,
                           std::uint32_t bits, std::uint64_t seed) {
  const float* const signs = quant::rht64_signs(seed);
  const auto matrix = quant::matrix_of({.weight = coded.tensors().find(module + ".weight"),
                                        .scales = coded.tensors().find(module + ".scales")},
                                       {quant::Scheme::turboquant, bits, 64, signs});
  if (!matrix) throw std::runtime_error(matrix.error().message());
  std::vector<float> w(matrix->rows * matrix->cols);
  for (std::size_t row = 0; row < matrix->rows; ++row)
    quant::row_decoder(*matrix, Isa::scalar)(
        *matrix, row, std::span(w).subspan(row * matrix->cols, matrix->cols));
  quant::unrotate_inputs(signs, w.data(), w.size());
  return w;
}

/// The demo with its coded matrices as float32.
void write_decoded(const formats::Checkpoint& coded, std::uint32_t bits, std::uint64_t seed,
                   const fs::path& to) {
  fs::create_directories(to);
  fs::copy_file(source_dir() + "/demo/model/config.json", to / "config.json");
  const formats::Checkpoint plain = demo();
  std::vector<formats::TensorPlan> plan;
  const auto is_coded = [&](const Tensor& tensor) {
    return coded.tensors().find(tensor.name)->type == DType::u32;
  };
  for (const Tensor& tensor : plain.tensors().tensors())
    plan.push_back({tensor.name, is_coded(tensor) ? DType::f32 : tensor.type, tensor.shape});
  auto file = formats::SafetensorsWriter::create(to / "model.safetensors", plan);
  ASSERT_TRUE(file.has_value());
  for (const Tensor& tensor : plain.tensors().tensors()) {
    if (!is_coded(tensor)) {
      ASSERT_TRUE(file->write(tensor.name, tensor.data));
      continue;
    }
    const std::string module = tensor.name.substr(0, tensor.name.size() - 7);  // ".weight"
    const auto w = decoded(coded, module, bits, seed);
    ASSERT_TRUE(file->write(tensor.name, std::as_bytes(std::span(w))));
  }
  ASSERT_TRUE(file->commit());
}

TEST(TurboQuantize, TheModelComputesWhatItsDecodedWeightsCompute) {
  for (const std::uint32_t bits : {2u, 3u, 4u, 5u}) {
    const Scratch folder;
    quantize(folder / "coded", {.bits = bits, .head_bits = bits, .rotation_seed = 11});
    write_decoded(open(folder / "coded"), bits, 11, folder / "plain");
    // Codes meet activations of 16 bits, plain weights those of 32.
    EXPECT_LT(relative_distance(logits(folder / "coded"), logits(folder / "plain")), 1e-4) << bits;
  }
}

TEST(TurboQuantize, MoreBitsAreNearerToTheModel) {
  const auto truth = logits(source_dir() + "/demo/model");
  double before = 10;
  for (const std::uint32_t bits : {2u, 3u, 4u, 5u}) {
    const Scratch folder;
    const auto report = quantize(folder / "coded", {.bits = bits, .head_bits = bits});
    const double distance = relative_distance(logits(folder / "coded"), truth);
    EXPECT_LT(distance, before / 1.3) << bits;
    before = distance;
    std::uint64_t bytes = 0;
    for (const auto& file : fs::directory_iterator(folder / "coded")) bytes += file.file_size();
    EXPECT_EQ(report.bytes, bytes);
    EXPECT_EQ(report.coded, 6'541'056u);  // all matrices but routers
  }
  EXPECT_LT(before, 0.1);
}

TEST(TurboQuantize, EmbeddingsAndHeadMayHaveBitsOfTheirOwn) {
  const Scratch folder;
  const auto truth = logits(source_dir() + "/demo/model");
  quantize(folder / "uniform", {.bits = 2, .head_bits = 2});
  quantize(folder / "mixed", {.bits = 2, .head_bits = 5});
  EXPECT_LT(relative_distance(logits(folder / "mixed"), truth),
            relative_distance(logits(folder / "uniform"), truth) / 1.05);
  const formats::Checkpoint mixed = open(folder / "mixed");
  EXPECT_EQ(mixed.tensors().find("lm_head.weight")->shape, (Shape{2048, 192 * 5 / 32}));
  EXPECT_EQ(mixed.tensors().find("backbone.embeddings.weight")->shape, (Shape{2048, 192 * 5 / 32}));
  EXPECT_EQ(mixed.tensors().find("backbone.layers.3.mixer.k_proj.weight")->shape,
            (Shape{256, 192 * 2 / 32}));
}

TEST(TurboQuantize, TheResultDoesNotDependOnChunksOrThreads) {
  const Scratch folder;
  quantize(folder / "one", {.bits = 3}, 1);
  quantize(folder / "three", {.bits = 3}, 3);
  EXPECT_EQ(read(folder / "one/model.safetensors"), read(folder / "three/model.safetensors"));
  EXPECT_EQ(logits(folder / "one", 24), logits(folder / "one", 5));
}

TEST(TurboQuantize, LeavesPlainWhatItIsToldToKeepAndAllThatIsNoMatrix) {
  const Scratch folder;
  quantize(folder / "coded", {.overrides = {{"lm_head", "plain"}, {"embeddings", "plain"}}});
  const formats::Checkpoint source = demo(), coded = open(folder / "coded");
  for (const Tensor& tensor : source.tensors().tensors()) {
    const Tensor* const now = coded.tensors().find(tensor.name);
    ASSERT_NE(now, nullptr) << tensor.name;
    const bool proj = tensor.name.find("_proj.weight") != tensor.name.npos;
    EXPECT_EQ(now->type, proj ? DType::u32 : tensor.type) << tensor.name;
    if (!proj) {
      EXPECT_TRUE(std::ranges::equal(now->data, tensor.data)) << tensor.name;
    }
  }
  EXPECT_FALSE(logits(folder / "coded").empty());
}

TEST(TurboQuantize, CopiesTheFilesBesideTheWeights) {
  const Scratch folder;
  quantize(folder / "coded", {.bits = 2});
  for (const char* name : {"tokenizer.json", "chat_template.jinja", "generation_config.json"})
    EXPECT_EQ(read(folder / "coded" / name), read(fs::path(source_dir()) / "demo/model" / name));
  const std::string config = read(folder / "coded/config.json");
  EXPECT_THAT(config, HasSubstr("\"rotation\": \"rht64\""));
  EXPECT_THAT(config, HasSubstr("\"hidden_size\": 192"));
}

void expect_error(const Result<ConvertReport>& report, ErrorCode code, const char* part) {
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code, code) << report.error().message();
  EXPECT_THAT(report.error().message(), HasSubstr(part));
}

TEST(TurboQuantize, RefusesAFolderThatHoldsSomething) {
  expect_error(try_to(demo(), source_dir() + "/demo/model", {}), ErrorCode::usage,
               "exists already");
}

TEST(TurboQuantize, LeavesNothingUnderTheFinalNameWhenItIsStopped) {
  const Scratch folder;
  std::uint64_t last = 0;
  const auto stop = [&](const ConvertProgress& progress) {
    last = progress.bytes;
    return progress.bytes < progress.total_bytes / 2;
  };
  expect_error(try_to(demo(), folder / "coded", {}, 2, {.progress = stop}), ErrorCode::cancelled,
               "interrupted");
  EXPECT_GT(last, 0u);
  EXPECT_FALSE(fs::exists(folder / "coded"));
}

/// The demo with one weight of a tensor replaced.
formats::Checkpoint damaged(const fs::path& folder, const char* tensor, float value) {
  fs::create_directories(folder);
  for (const char* file : {"config.json", "model.safetensors"})
    fs::copy_file(fs::path(source_dir()) / "demo/model" / file, folder / file);
  const formats::Checkpoint source = demo();
  const std::string bytes = read(folder / "model.safetensors");
  const auto* const data = source.tensors().find(tensor)->data.data();
  const std::size_t at =
      bytes.find(std::string(reinterpret_cast<const char*>(data), 64));  // its place in the file
  const std::uint16_t bits = float_to_bf16(value);
  std::fstream file(folder / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at + 10));
  file.write(reinterpret_cast<const char*>(&bits), sizeof bits);
  file.close();
  return open(folder);
}

TEST(TurboQuantize, NamesTheTensorOfAWeightThatItCannotHold) {
  const char* const name = "backbone.layers.3.mixer.k_proj.weight";
  for (const float value : {std::nanf(""), HUGE_VALF, 1e6f}) {
    const Scratch folder;
    const auto source = damaged(folder / "source", name, value);
    expect_error(try_to(source, folder / "coded", {}),
                 value == 1e6f ? ErrorCode::unsupported : ErrorCode::corrupt, name);
    EXPECT_FALSE(fs::exists(folder / "coded"));
  }
}

TEST(TurboQuantize, AnotherRotationSeedGivesOtherCodesOfTheSameModel) {
  const Scratch folder;
  quantize(folder / "a", {.bits = 4, .rotation_seed = 1});
  quantize(folder / "b", {.bits = 4, .rotation_seed = 2});
  EXPECT_NE(read(folder / "a/model.safetensors"), read(folder / "b/model.safetensors"));
  EXPECT_LT(relative_distance(logits(folder / "a"), logits(folder / "b")), 0.3);
}

}  // namespace
}  // namespace tern::convert
