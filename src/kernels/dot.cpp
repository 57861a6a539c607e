#include "kernels/dot.h"

#include <algorithm>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace tern::kernels {
namespace {

namespace scalar {  // The meaning: exact products, summed in double, columns rising.
void dot_rows(const quant::Matrix& weight, std::size_t first_row, std::size_t rows, const float* x,
              std::size_t tokens, std::size_t x_stride, float* y, std::size_t y_stride) {
  quant::DecodeRow* const decode = quant::row_decoder(weight, Isa::scalar);
  for (std::size_t r = 0; r < rows; ++r) {
    double sums[kDotTokens] = {};
    for (std::size_t first = 0; first < weight.cols; first += kDotCols) {
      float w[kDotCols];
      const std::size_t cols = std::min(kDotCols, weight.cols - first);
      decode(weight.columns(first, cols), first_row + r, {w, cols});
      for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t c = 0; c < cols; ++c)
          sums[t] += static_cast<double>(w[c]) * static_cast<double>(x[t * x_stride + first + c]);
    }
    for (std::size_t t = 0; t < tokens; ++t) y[t * y_stride + r] = static_cast<float>(sums[t]);
  }
}
}  // namespace scalar

#if defined(__x86_64__)

namespace avx2 {  // sixteen lanes as two registers
#define TERN_TARGET __attribute__((target("avx2,fma,f16c")))
#define TERN_LANES TERN_TARGET __attribute__((always_inline)) inline
constexpr Isa kIsa = Isa::avx2;
constexpr std::size_t kTileRows = 2, kTileTokens = 3;

struct Lanes {
  __m256 low, high;
};
TERN_LANES Lanes load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
TERN_LANES Lanes load_first(const float* p, std::size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i count = _mm256_set1_epi32(static_cast<int>(n));
  const __m256i low = _mm256_cmpgt_epi32(count, lane);
  const __m256i high = _mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8)));
  return {_mm256_maskload_ps(p, low), _mm256_maskload_ps(p + 8, high)};
}
TERN_LANES void store(float* p, Lanes v) {
  _mm256_storeu_ps(p, v.low);
  _mm256_storeu_ps(p + 8, v.high);
}
TERN_LANES Lanes fma(Lanes a, Lanes b, Lanes c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
TERN_LANES float sum8(__m256 v) {
  const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
  return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}
TERN_LANES float sum(Lanes v) {
  return sum8(_mm256_add_ps(v.low, v.high));
}
#include "kernels/dot_lanes.inc.h"
#undef TERN_LANES
#undef TERN_TARGET
}  // namespace avx2

namespace avx512 {
#define TERN_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
#define TERN_LANES TERN_TARGET __attribute__((always_inline)) inline
constexpr Isa kIsa = Isa::avx512;
constexpr std::size_t kTileRows = 4, kTileTokens = 4;

using Lanes = __m512;
TERN_LANES Lanes load(const float* p) {
  return _mm512_loadu_ps(p);
}
TERN_LANES Lanes load_first(const float* p, std::size_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
TERN_LANES void store(float* p, Lanes v) {
  _mm512_storeu_ps(p, v);
}
TERN_LANES Lanes fma(Lanes a, Lanes b, Lanes c) {
  return _mm512_fmadd_ps(a, b, c);
}
TERN_LANES float sum(Lanes v) {  // the tree of avx2
  // The zero-masked form: g++ 12 warns about its own header in the others.
  const __m256 v8 = _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xff, v, 0),
                                  _mm512_maskz_extractf32x8_ps(0xff, v, 1));
  const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
  const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
  return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}
#include "kernels/dot_lanes.inc.h"
#undef TERN_LANES
#undef TERN_TARGET
}  // namespace avx512

#elif defined(__aarch64__)

namespace neon {  // sixteen lanes as four registers
#define TERN_TARGET
constexpr Isa kIsa = Isa::neon;
constexpr std::size_t kTileRows = 2, kTileTokens = 2;

struct Lanes {
  float32x4_t part[4];
};
inline Lanes load(const float* p) {
  return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
inline Lanes load_first(const float* p, std::size_t n) {
  float padded[16] = {};
  std::copy_n(p, n, padded);
  return load(padded);
}
inline void store(float* p, Lanes v) {
  for (std::size_t i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, v.part[i]);
}
inline Lanes fma(Lanes a, Lanes b, Lanes c) {
  for (std::size_t i = 0; i < 4; ++i) c.part[i] = vfmaq_f32(c.part[i], a.part[i], b.part[i]);
  return c;
}
inline float sum(Lanes v) {  // the tree of avx2
  const float32x4_t v4 =
      vaddq_f32(vaddq_f32(v.part[0], v.part[2]), vaddq_f32(v.part[1], v.part[3]));
  const float32x2_t v2 = vadd_f32(vget_low_f32(v4), vget_high_f32(v4));
  return vget_lane_f32(v2, 0) + vget_lane_f32(v2, 1);
}
#include "kernels/dot_lanes.inc.h"
#undef TERN_TARGET
}  // namespace neon

#endif

}  // namespace

DotRows* dot_rows(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::dot_rows;
    case Isa::avx512:
    case Isa::amx:
      return avx512::dot_rows;
#elif defined(__aarch64__)
    case Isa::neon:
      return neon::dot_rows;
#endif
    default:
      return scalar::dot_rows;
  }
}

}  // namespace tern::kernels
