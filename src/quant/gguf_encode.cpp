#include "quant/gguf_encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "quant/gguf_blocks.h"
#include "quant/gguf_pack.h"
#include "quant/gguf_reference.h"
#include "quant/lanes_avx2.h"
#include "tensor/half.h"

namespace tern::quant {
namespace {

constexpr float kLeastWeight = 1e-30f;  // smaller runs are zero: no f16 scale is as small
constexpr float kFirstTry = -1.05f;     // in units of a level, beside the end of the levels
constexpr float kTryStep = 0.35f;
constexpr int kTries = 8;  // twice as many gain 0.1 % of the error of Q4_0, 0.6 % of that of Q4_1
constexpr int kRounds = 3, kLineRounds = 2;
constexpr int kSuperTries = 3, kSuperRounds = 4;

/// A scale as f16; what is too large for it saturates.
std::uint16_t f16_scale(float scale) {
  constexpr float kMost = 65504;
  return float_to_f16(std::clamp(scale, -kMost, kMost));
}

int nearest_int(float value, int least, int most) {
  return static_cast<int>(
      std::lrint(std::clamp(value, static_cast<float>(least), static_cast<float>(most))));
}

/// Squared error of one block, as it is read.
template <class Format>
double block_error(const float* x, const std::byte* block) {
  float y[Format::kValues], sums[8] = {};
  Format::decode(block, y);
  if constexpr (Format::kValues == 1) return static_cast<double>((x[0] - y[0]) * (x[0] - y[0]));
  for (std::size_t i = 0; i < Format::kValues; i += 8)
    for (std::size_t k = 0; k < 8; ++k) {
      const float rest = x[i + k] - y[i + k];
      sums[k] += rest * rest;
    }
  double error = 0;
  for (const float part : sums) error += static_cast<double>(part);
  return error;
}

using Lanes8 = float __attribute__((vector_size(32)));
using Lanes4 = float __attribute__((vector_size(16)));

namespace baseline {
inline void clamp(Lanes8& u, float low, float high) {
  const Lanes8 a = Lanes8{} + low, b = Lanes8{} + high;
  u = u < a ? a : u;
  u = u > b ? b : u;
}
#define TERN_TARGET
#include "quant/gguf_search.inc.h"
//
#include "quant/gguf_encode.inc.h"
#undef TERN_TARGET
}  // namespace baseline

#if defined(__x86_64__)
namespace on_avx2 {
TERN_AVX2 __attribute__((always_inline)) inline void clamp(Lanes8& u, float low, float high) {
  u = _mm256_min_ps(_mm256_max_ps(u, _mm256_set1_ps(low)), _mm256_set1_ps(high));
}
#define TERN_TARGET TERN_AVX2
#include "quant/gguf_search.inc.h"
//
#include "quant/gguf_encode.inc.h"
#undef TERN_TARGET
}  // namespace on_avx2
#endif

using EncodeBlocks = double(std::span<const float>, const float*, std::byte*);

template <class Format>
EncodeBlocks* blocks_encoder() {
#if defined(__x86_64__)
  if (active_isa() != Isa::scalar) return on_avx2::encode_blocks<Format>;
#endif
  return baseline::encode_blocks<Format>;
}

EncodeBlocks* blocks_encoder(DType type) {
  switch (type) {
    case DType::q4_0:
      return blocks_encoder<Q4_0>();
    case DType::q4_1:
      return blocks_encoder<Q4_1>();
    case DType::q5_0:
      return blocks_encoder<Q5_0>();
    case DType::q5_1:
      return blocks_encoder<Q5_1>();
    case DType::q8_0:
      return blocks_encoder<Q8_0>();
    case DType::q2_k:
      return blocks_encoder<Q2K>();
    case DType::q3_k:
      return blocks_encoder<Q3K>();
    case DType::q4_k:
      return blocks_encoder<Q4K>();
    case DType::q5_k:
      return blocks_encoder<Q5K>();
    case DType::q6_k:
      return blocks_encoder<Q6K>();
    case DType::iq4_nl:
      return blocks_encoder<Iq4Nl>();
    case DType::iq4_xs:
      return blocks_encoder<Iq4Xs>();
    case DType::mxfp4:
      return blocks_encoder<Mxfp4>();
    default:
      return nullptr;
  }
}

/// Positive, so that no run is without any: columns that were never used get the least of it.
std::vector<float> weights_of(std::span<const float> importance, std::size_t n) {
  double sum = 0;
  for (const float value : importance) sum += static_cast<double>(value);
  if (!(sum > 0)) return std::vector<float>(n, 1.0f);
  constexpr float kLeastShare = 1e-4f;  // of the mean
  const auto unit = static_cast<float>(static_cast<double>(n) / sum);
  std::vector<float> weights(n);
  for (std::size_t i = 0; i < n; ++i) weights[i] = std::max(importance[i] * unit, kLeastShare);
  return weights;
}

}  // namespace

bool can_encode_gguf(DType type, GgufFit fit) {
  if (is_reference_type(type)) return true;
  return fit == GgufFit::searched && blocks_encoder(type) != nullptr;
}

double encode_gguf_row(DType type, std::span<const float> row, std::span<const float> importance,
                       GgufFit fit, std::span<std::byte> out) {
  TERN_CHECK(can_encode_gguf(type, fit) && checked_row_bytes(type, row.size()) == out.size());
  TERN_CHECK(importance.empty() || importance.size() == row.size());
  if (fit == GgufFit::reference || !is_block_type(type)) return encode_reference(type, row, out);
  const std::vector<float> weights = weights_of(importance, row.size());
  return blocks_encoder(type)(row, weights.data(), out.data());
}

}  // namespace tern::quant
