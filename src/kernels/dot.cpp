#include "kernels/dot.h"

#include <algorithm>
#include <type_traits>

#include "quant/fast_decoders.h"
#include "quant/formats.h"

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

namespace neon {
using namespace quant::neon;
#define TERN_TARGET TERN_NEON
constexpr std::size_t kTileRows = 2, kTileTokens = 2;  // 16 of 32 registers
#include "kernels/dot_fused.inc.h"
#undef TERN_TARGET
}  // namespace neon

#endif

}  // namespace

DotRows* dot_rows(const quant::Matrix& weight, Isa isa) {
  return visit_format(weight, [isa]<class Format>(std::type_identity<Format>) -> DotRows* {
#if defined(__x86_64__)
    if (isa == Isa::avx2) return avx2::dot_rows<Format>;
    if (isa == Isa::avx512 || isa == Isa::amx) return avx512::dot_rows<Format>;
#elif defined(__aarch64__)
    if (isa == Isa::neon) return neon::dot_rows<Format>;
#endif
    static_cast<void>(isa);
    return scalar::dot_rows;
  });
}

}  // namespace tern::kernels
