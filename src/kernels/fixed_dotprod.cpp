// The products of fixed.h on NEON with the dot product extension (SDOT and UDOT).
#if defined(__aarch64__)

#include <algorithm>
#include <type_traits>
#include <utility>

#include "kernels/fixed.h"
#include "kernels/fixed_words_bytes.h"
#include "quant/formats.h"

namespace tern::kernels::fixed_dotprod {
namespace {

using namespace quant;

#define TERN_FIXED TERN_FIXED_DOTPROD
#define TERN_UNIT TERN_FIXED __attribute__((noinline))  // minutes less to compile
constexpr std::size_t kMostTokens = 4;
#define TERN_WORD TERN_FIXED __attribute__((always_inline)) inline
constexpr std::size_t kGroups = 1, kTogether = 1;  // sums of a tile that registers hold
constexpr std::size_t kMostUnits = 12;             // by the count of instructions
constexpr TileOrder kTile = TileOrder::quads;

/// Codes of a tile's block are [row][32].
TERN_WORD void store_tile_codes(uint32x4_t codes, std::size_t half, std::size_t row,
                                std::int8_t* block) {
  vst1q_s8(block + 32 * row + 16 * half, vreinterpretq_s8_u32(codes));
}

/// Four columns of sixteen tokens.
TERN_WORD int8x16_t quad(const std::int8_t* x, std::size_t k, int i) {
  return vld1q_s8(x + 64 * k + 16 * i);
}

/// sums[r][i] += codes of row r times columns 4 k to 4 k + 3 of tokens 4 i to 4 i + 3.
template <std::size_t k>
TERN_WORD void add_quad(const std::int8_t* codes, const std::int8_t* x, int32x4_t (*sums)[4]) {
  const int8x16_t q[4] = {quad(x, k, 0), quad(x, k, 1), quad(x, k, 2), quad(x, k, 3)};
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    const int8x16_t w = vld1q_s8(codes + 32 * r + k / 4 * 16);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sums[r][i] = vdotq_laneq_s32(sums[r][i], q[i], w, k % 4);
  }
}
template <std::size_t... k>
TERN_WORD void add_quads(std::index_sequence<k...>, const std::int8_t* codes, const std::int8_t* x,
                         int32x4_t (*sums)[4]) {
  (add_quad<k>(codes, x, sums), ...);
}

/// Sums of four rows, or of half h of the block, plus `add` for each.
template <std::size_t halves>
TERN_WORD void tile_sums(const std::int8_t* codes, const std::int8_t* x, std::size_t h,
                         const std::int32_t* add, Ints* out) {
  constexpr std::make_index_sequence<8 / halves> kQuads;
  codes += 16 * h;
  x += 256 * h;
  int32x4_t sums[4][4];
  for (auto& row : sums)
    for (auto& lanes : row) lanes = vdupq_n_s32(0);
  add_quads(kQuads, codes, x, sums);
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sums[r][i] = vmlaq_n_s32(vdupq_n_s32(add[r]), sums[r][i], 256);
  add_quads(kQuads, codes, x + 512, sums);
  for (int r = 0; r < 4; ++r)
    out[r] = each_int([&](int i) { return vreinterpretq_u32_s32(sums[r][i]); });
}

/// Sums of q of sixteen tokens.
template <std::size_t halves>
TERN_WORD Ints token_sums(const std::int8_t* x, std::size_t h) {
  x += 256 * h;
  Ints out;
  for (int i = 0; i < 4; ++i) {
    int32x4_t high = vdupq_n_s32(0), low = vdupq_n_s32(128 * 32 / halves);
    for (std::size_t k = 0; k < 8 / halves; ++k) {
      high = vdotq_s32(high, quad(x, k, i), vdupq_n_s8(1));
      low = vdotq_s32(low, quad(x + 512, k, i), vdupq_n_s8(1));
    }
    out.v[i] = vreinterpretq_u32_s32(vmlaq_n_s32(low, high, 256));
  }
  return out;
}

#include "kernels/fixed_split_bytes.inc.h"
// then
#include "kernels/fixed_formats.inc.h"
// then
#include "kernels/fixed_incoming.inc.h"
// then
#include "kernels/fixed_sums_bytes.inc.h"
// then
#include "kernels/fixed_dot.inc.h"
#undef TERN_WORD
#undef TERN_UNIT
#undef TERN_FIXED

}  // namespace

const FixedKernels* kernels(const quant::Matrix& weight) {
  static const bool here = supported(NeonExtension::dotprod);
  if (!here) return nullptr;
  return visit_format(weight, []<class Format>(std::type_identity<Format>) -> const FixedKernels* {
    if constexpr (kFitsBytes<Format>) return kernels_of<Format>();
    return nullptr;
  });
}

}  // namespace tern::kernels::fixed_dotprod

#endif
