// The products of fixed.h on AVX2.
#if defined(__x86_64__)

#include <algorithm>
#include <type_traits>

#include "kernels/fixed.h"
#include "kernels/fixed_words_avx2.h"
#include "quant/formats.h"

namespace tern::kernels::fixed_avx2 {
namespace {

using namespace quant;
using namespace quant::avx2;

#define TERN_FIXED TERN_FIXED_AVX2
#define TERN_UNIT TERN_FIXED __attribute__((always_inline)) inline
constexpr std::size_t kMostTokens = 4, kRowsUnrolled = 4;
constexpr std::size_t kGroups = 1, kTogether = 1;  // sums of a tile that registers hold
constexpr std::size_t kMostUnits = 10;
constexpr std::size_t kAhead = 8192;  // measured on a Zen 3, whose cores follow one run best
constexpr bool kOneRun = true;
constexpr std::size_t kStage = 20480;  // four rows of 4096 columns of any format
constexpr TileOrder kTile = TileOrder::pairs;
#include "kernels/fixed_split_words.inc.h"
// then
#include "kernels/fixed_formats.inc.h"
// then
#include "kernels/fixed_scales_avx2.inc.h"
// then
#include "kernels/fixed_incoming.inc.h"
// then
#include "kernels/fixed_sums_words.inc.h"
// then
#include "kernels/fixed_sums_pairs.inc.h"
// then
#include "kernels/fixed_unpack_bytes.inc.h"
// then
#include "kernels/fixed_dot.inc.h"
#undef TERN_UNIT
#undef TERN_FIXED

bool supported() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("f16c") != 0 && __builtin_cpu_supports("bmi") != 0 &&
         __builtin_cpu_supports("bmi2") != 0;
}

}  // namespace

const FixedKernels* kernels(const quant::Matrix& weight) {
  static const bool here = supported();
  if (!here) return nullptr;
  return visit_format(
      weight, []<class Format>(std::type_identity<Format>) { return kernels_of<Format>(); });
}

}  // namespace tern::kernels::fixed_avx2

#endif
