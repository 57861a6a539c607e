#include "quant/codec_kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "quant/lanes_avx2.h"
#include "quant/lanes_avx512.h"
#include "quant/lanes_neon.h"

namespace tern::quant {
namespace {

/// 1 / sqrt(block), rounded once.
float hadamard_scale(std::size_t block) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(block)));
}

namespace scalar {  // The meaning.

void hadamard(float* x, std::size_t dim, std::size_t block, const float* signs, bool forward) {
  const float scale = hadamard_scale(block);
  if (forward)
    for (std::size_t i = 0; i < dim; ++i) x[i] *= signs[i];
  for (std::size_t h = 1; h < block; h *= 2)
    for (std::size_t first = 0; first < dim; first += 2 * h)
      for (std::size_t i = first; i < first + h; ++i) {
        const float a = x[i], b = x[i + h];
        x[i] = a + b;
        x[i + h] = a - b;
      }
  for (std::size_t i = 0; i < dim; ++i) x[i] *= scale;
  if (!forward)
    for (std::size_t i = 0; i < dim; ++i) x[i] *= signs[i];
}

void multiply(const float* columns, std::size_t dim, const float* x, std::size_t count, float* y) {
  for (std::size_t t = 0; t < count; ++t, x += dim, y += dim) {
    std::fill_n(y, dim, 0.0f);
    for (std::size_t c = 0; c < dim; ++c)
      for (std::size_t r = 0; r < dim; ++r) y[r] += columns[c * dim + r] * x[c];
  }
}

float sum(const float (&lanes)[16]) {
  float v[16];
  std::copy_n(lanes, 16, v);
  for (std::size_t half = 8; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) v[i] += v[i + half];
  return v[0];
}

float square_sum(const float* x, std::size_t n) {
  float lanes[16] = {};
  for (std::size_t i = 0; i < n; ++i) lanes[i % 16] += x[i] * x[i];
  return sum(lanes);
}

Fit assign(const float* r, std::size_t n, float inverse, const CodebookTable& codebook,
           std::uint8_t* codes) {
  float cross[16] = {}, square[16] = {};
  for (std::size_t i = 0; i < n; ++i) {
    const float u = r[i] * inverse;
    std::size_t index = 0;  // the number of bounds below u, by halves
    for (std::size_t step = std::size_t{1} << (codebook.bits - 1); step > 0; step /= 2)
      index += u > codebook.bounds[index + step - 1] ? step : 0;
    codes[i] = static_cast<std::uint8_t>(index);
    const float level = codebook.levels[index];
    cross[i % 16] += r[i] * level;
    square[i % 16] += level * level;
  }
  return {sum(cross), sum(square)};
}

constexpr CodecKernels kKernels = {hadamard, multiply, square_sum, assign};

}  // namespace scalar

#if defined(__x86_64__)
namespace on_avx2 {
using namespace quant::avx2;
#define TERN_TARGET TERN_AVX2
constexpr std::size_t kTileVectors = 3;  // 12 of 16 registers
#include "quant/codec_lanes.inc.h"
#undef TERN_TARGET
}  // namespace on_avx2

namespace on_avx512 {
using namespace quant::avx512;
#define TERN_TARGET TERN_AVX512
constexpr std::size_t kTileVectors = 8;  // 16 of 32 registers
#include "quant/codec_lanes.inc.h"
#undef TERN_TARGET
}  // namespace on_avx512

#elif defined(__aarch64__)
namespace on_neon {
using namespace quant::neon;
#define TERN_TARGET TERN_NEON
constexpr std::size_t kTileVectors = 2;  // 16 of 32 registers
#include "quant/codec_lanes.inc.h"
#undef TERN_TARGET
}  // namespace on_neon
#endif

}  // namespace

CodebookTable::CodebookTable(const Codebook& codebook) : bits(0) {
  TERN_CHECK(codebook.levels.size() <= std::size(levels));
  while (std::size_t{1} << bits < codebook.levels.size()) ++bits;
  std::ranges::fill(levels, 0.0f);
  std::ranges::fill(bounds, std::numeric_limits<float>::infinity());
  std::ranges::copy(codebook.levels, levels);
  std::ranges::copy(codebook.bounds, bounds);
}

const CodecKernels& codec_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx2) return on_avx2::kKernels;
  if (isa == Isa::avx512 || isa == Isa::amx) return on_avx512::kKernels;
#elif defined(__aarch64__)
  if (isa == Isa::neon) return on_neon::kKernels;
#endif
  static_cast<void>(isa);
  return scalar::kKernels;
}

}  // namespace tern::quant
