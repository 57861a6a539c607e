#include "quant/mlx_search.h"

#include <cstring>

#include "quant/intrinsics.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed to inlined functions only
#endif

namespace tern::quant {
namespace {

constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: sums with it have no fraction

namespace baseline {
#define TERN_TARGET
#include "quant/mlx_search.inc.h"
#undef TERN_TARGET
}  // namespace baseline

#if defined(__x86_64__)
namespace avx2 {
#define TERN_TARGET __attribute__((target("avx2")))
#include "quant/mlx_search.inc.h"
#undef TERN_TARGET
}  // namespace avx2

namespace avx512 {
#define TERN_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#include "quant/mlx_search.inc.h"
#undef TERN_TARGET
}  // namespace avx512
#endif

}  // namespace

const SearchKernels& search_kernels(Isa isa) {
#if defined(__x86_64__)
  static constexpr SearchKernels kAvx2{avx2::affine, avx2::e2m1, avx2::e4m3};
  static constexpr SearchKernels kAvx512{avx512::affine, avx512::e2m1, avx512::e4m3};
  if (isa == Isa::avx2) return kAvx2;
  if (isa == Isa::avx512 || isa == Isa::amx) return kAvx512;
#endif
  static_cast<void>(isa);
  static constexpr SearchKernels kBaseline{baseline::affine, baseline::e2m1, baseline::e4m3};
  return kBaseline;
}

}  // namespace tern::quant
