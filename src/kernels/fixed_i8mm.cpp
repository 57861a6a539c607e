// The tiles of fixed.h on NEON with products of 8-bit matrices (SMMLA); rows are those of
// fixed_dotprod.cpp.
#if defined(__aarch64__)

#include <algorithm>
#include <type_traits>

#include "kernels/fixed.h"
#include "kernels/fixed_words_bytes.h"
#include "quant/formats.h"

namespace tern::kernels::fixed_i8mm {
namespace {

using namespace quant;
using namespace fixed_dotprod;

#define TERN_FIXED TERN_FIXED_I8MM
#define TERN_UNIT TERN_FIXED __attribute__((noinline))
constexpr std::size_t kMostTokens = 1;
#define TERN_WORD TERN_FIXED __attribute__((always_inline)) inline
constexpr std::size_t kGroups = 1, kTogether = 1;  // sums of a tile that registers hold
constexpr std::size_t kMostUnits = 6;              // by the count of instructions
constexpr TileOrder kTile = TileOrder::octets;

/// Codes of a tile's block are [octet of columns][row][8].
TERN_WORD void store_tile_codes(uint32x4_t codes, std::size_t half, std::size_t row,
                                std::int8_t* block) {
  const int8x16_t bytes = vreinterpretq_s8_u32(codes);
  vst1_s8(block + 64 * half + 8 * row, vget_low_s8(bytes));
  vst1_s8(block + 64 * half + 32 + 8 * row, vget_high_s8(bytes));
}

/// Eight columns of tokens 2 t and 2 t + 1.
TERN_WORD int8x16_t octet(const std::int8_t* x, std::size_t k, int t) {
  return vld1q_s8(x + 128 * k + 16 * t);
}

/// sums[p][t] += rows 2 p and 2 p + 1 times tokens 2 t and 2 t + 1: [token][row].
template <std::size_t count>
TERN_WORD void add_octets(const std::int8_t* codes, const std::int8_t* x, int32x4_t (*sums)[8]) {
#pragma GCC unroll 4
  for (std::size_t k = 0; k < count; ++k) {
    const int8x16_t w[2] = {vld1q_s8(codes + 32 * k), vld1q_s8(codes + 32 * k + 16)};
#pragma GCC unroll 8
    for (int t = 0; t < 8; ++t) {
      const int8x16_t q = octet(x, k, t);
      sums[0][t] = vmmlaq_s32(sums[0][t], q, w[0]);
      sums[1][t] = vmmlaq_s32(sums[1][t], q, w[1]);
    }
  }
}

/// Sums of four rows, or of half h of the block, plus `add` for each.
template <std::size_t halves>
TERN_WORD void tile_sums(const std::int8_t* codes, const std::int8_t* x, std::size_t h,
                         const std::int32_t* add, Ints* out) {
  codes += 64 * h;
  x += 256 * h;
  int32x4_t sums[2][8];
  for (auto& rows : sums)
    for (auto& lanes : rows) lanes = vdupq_n_s32(0);
  add_octets<4 / halves>(codes, x, sums);
#pragma GCC unroll 2
  for (int p = 0; p < 2; ++p) {
    const int32x4_t more = {add[2 * p], add[2 * p + 1], add[2 * p], add[2 * p + 1]};
#pragma GCC unroll 8
    for (int t = 0; t < 8; ++t) sums[p][t] = vmlaq_n_s32(more, sums[p][t], 256);
  }
  add_octets<4 / halves>(codes, x + 512, sums);
#pragma GCC unroll 2
  for (int p = 0; p < 2; ++p) {
    out[2 * p] = each_int([&](int i) {
      return vreinterpretq_u32_s32(vuzp1q_s32(sums[p][2 * i], sums[p][2 * i + 1]));
    });
    out[2 * p + 1] = each_int([&](int i) {
      return vreinterpretq_u32_s32(vuzp2q_s32(sums[p][2 * i], sums[p][2 * i + 1]));
    });
  }
}

/// Sums of q of sixteen tokens.
template <std::size_t halves>
TERN_WORD Ints token_sums(const std::int8_t* x, std::size_t h) {
  x += 256 * h;
  int32x4_t two_tokens[8];  // each in two lanes
  for (int t = 0; t < 8; ++t) {
    int32x4_t high = vdupq_n_s32(0), low = vdupq_n_s32(64 * 32 / halves);
    for (std::size_t k = 0; k < 4 / halves; ++k) {
      high = vdotq_s32(high, octet(x, k, t), vdupq_n_s8(1));
      low = vdotq_s32(low, octet(x + 512, k, t), vdupq_n_s8(1));
    }
    two_tokens[t] = vmlaq_n_s32(low, high, 256);
  }
  Ints out;
  for (int i = 0; i < 4; ++i)
    out.v[i] = vreinterpretq_u32_s32(vpaddq_s32(two_tokens[2 * i], two_tokens[2 * i + 1]));
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

template <class Format>
const FixedKernels* tiles_and_rows(const FixedKernels* rows) {
  if constexpr (kFitsBytes<Format> && requires { Fixed<Format>::kBytes; }) {
    static const FixedKernels kernels = {layout_of<Format>(), kTogether * kTileTokens, kMostUnits,
                                         rows->rows,          multiply_tiles<Format>,  nullptr};
    return &kernels;
  } else {
    return nullptr;
  }
}

}  // namespace

const FixedKernels* kernels(const quant::Matrix& weight) {
  static const bool here = supported(NeonExtension::i8mm);
  const FixedKernels* const rows = here ? fixed_dotprod::kernels(weight) : nullptr;
  if (rows == nullptr) return nullptr;
  return visit_format(weight, [&]<class Format>(std::type_identity<Format>) {
    return tiles_and_rows<Format>(rows);
  });
}

}  // namespace tern::kernels::fixed_i8mm

#endif
