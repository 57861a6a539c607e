// The products of fixed.h on NEON, without extensions.
#if defined(__aarch64__)

#include <algorithm>
#include <type_traits>
#include <utility>

#include "kernels/fixed.h"
#include "kernels/fixed_words_neon.h"
#include "quant/formats.h"

namespace tern::kernels::fixed_neon {
namespace {

using namespace quant;

#define TERN_FIXED
// Rows in a loop and units out of line: a few instructions more, minutes less to compile.
#define TERN_UNIT __attribute__((noinline))
constexpr std::size_t kMostTokens = 1, kRowsUnrolled = 1;
constexpr std::size_t kGroups = 1, kTogether = 1;  // sums of a tile that registers hold
constexpr std::size_t kMostUnits = 11;             // by the count of instructions
constexpr TileOrder kTile = TileOrder::columns;
#include "kernels/fixed_split_words.inc.h"
// then
#include "kernels/fixed_formats.inc.h"
// then
#include "kernels/fixed_incoming.inc.h"
// then
#include "kernels/fixed_sums_words.inc.h"

#define TERN_WORD __attribute__((always_inline)) inline

/// sums[r][i] += code e of row r times tokens 4 i to 4 i + 3 of column e, for eight columns.
template <std::size_t... e>
TERN_WORD void add_columns(std::index_sequence<e...>, const int16x8_t (&codes)[4],
                           const std::int16_t* x, int32x4_t (*sums)[4]) {
  const auto column = [&]<std::size_t at>(std::integral_constant<std::size_t, at>) {
    const int16x8_t low = vld1q_s16(x + 16 * at), high = vld1q_s16(x + 16 * at + 8);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      sums[r][0] = vmlal_laneq_s16(sums[r][0], vget_low_s16(low), codes[r], at);
      sums[r][1] = vmlal_high_laneq_s16(sums[r][1], low, codes[r], at);
      sums[r][2] = vmlal_laneq_s16(sums[r][2], vget_low_s16(high), codes[r], at);
      sums[r][3] = vmlal_high_laneq_s16(sums[r][3], high, codes[r], at);
    }
  };
  (column(std::integral_constant<std::size_t, e>()), ...);
}

/// As in fixed_sums_pairs.inc.h, of a tile in columns.
template <std::size_t V, std::size_t halves>
TERN_WORD void block_sums(const Panel& panel, std::size_t unit, std::size_t block, std::size_t h,
                          const FixedTile* const* tiles, Ints (*sums)[V]) {
  static_assert(V == 1 && kGroups == 1);
  const auto* const x = reinterpret_cast<const std::int16_t*>(tiles[0]->pairs[block]);
  int32x4_t lanes[4][4];
  for (auto& row : lanes)
    for (auto& tokens : row) tokens = vdupq_n_s32(0);
#pragma GCC unroll 1  // unrolled, the sums no longer stay in registers
  for (std::size_t j = 4 / halves * h; j < 4 / halves * (h + 1); ++j) {
    int16x8_t codes[4];
    for (std::size_t r = 0; r < 4; ++r) codes[r] = vld1q_s16(&panel.codes[unit][r][j][8 * block]);
    add_columns(std::make_index_sequence<8>(), codes, x + 128 * j, lanes);
  }
  for (int r = 0; r < 4; ++r)
    sums[r][0] = each_int([&](int i) { return vreinterpretq_u32_s32(lanes[r][i]); });
}
#undef TERN_WORD

#include "kernels/fixed_dot.inc.h"
#undef TERN_UNIT
#undef TERN_FIXED

}  // namespace

const FixedKernels* kernels(const quant::Matrix& weight) {
  return visit_format(
      weight, []<class Format>(std::type_identity<Format>) { return kernels_of<Format>(); });
}

}  // namespace tern::kernels::fixed_neon

#endif
