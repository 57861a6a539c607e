#include "kernels/conv.h"

#include <cmath>

#include "kernels/lanes.h"

namespace tern::kernels {

namespace scalar {  // The meaning: slow, obvious, and the oracle of the test.
namespace {

void conv_silu(const Conv& conv) {
  for (std::size_t t = 0; t < conv.tokens; ++t)
    for (std::size_t c = 0; c < (conv.channels + 15) / 16 * 16; ++c) {
      double v = 0;
      if (c < conv.channels) {
        v = conv.bias[c];
        for (std::size_t j = 0; j < conv.kernel; ++j)
          v += static_cast<double>(conv.w[j * conv.w_stride + c]) * conv.rows[t + j][conv.skip + c];
      }
      conv.out[t * conv.token_stride + c / 16 * conv.block_stride + c % 16] =
          static_cast<float>(v / (1.0 + std::exp(-v)));
    }
}

}  // namespace
}  // namespace scalar

#if defined(__x86_64__)

namespace avx2 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX2
#include "kernels/conv_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx2

namespace avx512 {
namespace {
#define TERN_TARGET TERN_TARGET_AVX512
#include "kernels/conv_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace avx512

#elif defined(__aarch64__)

namespace neon {
namespace {
#define TERN_TARGET TERN_TARGET_NEON
#include "kernels/conv_lanes.inc.h"
#undef TERN_TARGET
}  // namespace
}  // namespace neon

#endif

ConvSilu* conv_silu(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::avx2:
      return avx2::conv_silu;
    case Isa::avx512:
    case Isa::amx:
      return avx512::conv_silu;
#elif defined(__aarch64__)
    case Isa::neon:
      return neon::conv_silu;
#endif
    default:
      return scalar::conv_silu;
  }
}

}  // namespace tern::kernels
