#include "kernels/dot.h"

#include <algorithm>
#include <type_traits>

#include "quant/fast_decoders.h"
#include "quant/formats.h"

#if defined(__aarch64__)
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

namespace avx2 {
using namespace quant::avx2;
#define TERN_TARGET TERN_AVX2
constexpr std::size_t kTileRows = 2, kTileTokens = 3;  // 12 of 16 registers
#include "kernels/dot_fused.inc.h"
#undef TERN_TARGET
}  // namespace avx2

namespace avx512 {
using namespace quant::avx512;
#define TERN_TARGET TERN_AVX512
constexpr std::size_t kTileRows = 4, kTileTokens = 4;  // 16 of 32 registers
#include "kernels/dot_fused.inc.h"
#undef TERN_TARGET
}  // namespace avx512

#elif defined(__aarch64__)

namespace neon {  // sixteen lanes as four registers
#define TERN_TARGET
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

void dot_rows(const quant::Matrix& weight, std::size_t first_row, std::size_t rows, const float* x,
              std::size_t tokens, std::size_t x_stride, float* y, std::size_t y_stride) {
  dot_tokens(weight, quant::row_decoder(weight, Isa::neon), first_row, rows, x, tokens, x_stride, y,
             y_stride);
}
}  // namespace neon

#endif

}  // namespace

DotRows* dot_rows(const quant::Matrix& weight, Isa isa) {
#if defined(__x86_64__)
  return visit_format(weight, [isa]<class Format>(std::type_identity<Format>) -> DotRows* {
    if (isa == Isa::avx2) return avx2::dot_rows<Format>;
    if (isa == Isa::avx512 || isa == Isa::amx) return avx512::dot_rows<Format>;
    return scalar::dot_rows;
  });
#else
#if defined(__aarch64__)
  if (isa == Isa::neon) return neon::dot_rows;
#endif
  static_cast<void>(weight);
  return scalar::dot_rows;
#endif
}

}  // namespace tern::kernels
