// Exact sums of codes times 16-bit activations, both as bytes: an activation is
// q = 256 high + low, and a code of 8 bits is met by the high byte less 128. Included before
// fixed_dot.inc.h, inside the same namespace, with kTile defined; the words are dot_signed,
// dot_unsigned and those of tiles (fixed_words_bytes.h).
//
//   rows   sum c q = 256 sum high c + sum low c                 c without sign; low from 0 to 255
//   tiles  sum c q = 256 sum high c + sum low' c + 128 sum c    c signed; low' = low - 128

/// Whether codes fill all 8 bits.
template <class Format>
constexpr bool kEightBits = Fixed<Format>::kZero == 128;
template <class Scale>
constexpr bool kEightBits<MlxAffine<8, Scale>> = true;

/// Levels of TurboQuant are words: fixed_neon.cpp has them.
template <class Format>
constexpr bool kFitsBytes = true;
template <std::size_t bits>
constexpr bool kFitsBytes<TurboWeights<bits>> = false;

/// What 8-bit codes leave to add: with zero at 128, - 128 times the sum of low; with zero at 0,
/// 128 * 256 times the sum of high.
template <class Format>
constexpr FixedLayout layout_of() {
  FixedLayout layout = Fixed<Format>::kLayout;
  layout.tile = kTile;
  if (kEightBits<Format>) layout.sum = Fixed<Format>::kZero == 128 ? UnitSum::low : UnitSum::high;
  return layout;
}

/// As in fixed_sums_words.inc.h.
template <class Format, std::size_t T, std::size_t u, std::size_t kHalves, class Next>
TERN_FIXED __attribute__((always_inline)) inline void unit_sums(const Row* rows, const FixedUnit* x,
                                                                std::size_t stride,
                                                                const Next& incoming,
                                                                Ints (*sums)[kHalves][4]) {
  constexpr std::size_t kPlanes = 2 / kHalves;
#pragma GCC unroll 1
  for (std::size_t r = 0; r < 4; ++r) {
    incoming.template move<Fixed<Format>::kBytes>(4 * u + r);
    Ints w[2], w_high[2];
    Fixed<Format>::template unpack<u>(rows[r].codes, w);
    for (std::size_t i = 0; i < 2; ++i)
      w_high[i] = kEightBits<Format> ? bit_xor(w[i], bytes(128)) : w[i];
#pragma GCC unroll 4
    for (std::size_t t = 0; t < T; ++t) {
      const auto& q = x[t * stride].q;
#pragma GCC unroll 2
      for (std::size_t h = 0; h < kHalves; ++h) {
        Ints sum = zero_ints();
        for (std::size_t i = kPlanes * h; i < kPlanes * (h + 1); ++i)
          sum = dot_signed(sum, w_high[i], load_ints(q[2 * i]));
        sum = shift_left(sum, 8);
        for (std::size_t i = kPlanes * h; i < kPlanes * (h + 1); ++i)
          sum = dot_unsigned(sum, w[i], load_ints(q[2 * i + 1]));
        sums[t][h][r] = sum;
      }
    }
  }
}

template <class Format>
TERN_FIXED __attribute__((always_inline)) inline Ints total(const Ints* sums, const FixedUnit& unit,
                                                            std::size_t h) {
  constexpr int kZero = Fixed<Format>::kZero;
  constexpr int kFactor = kEightBits<Format> && kZero == 0 ? 128 * 256 : -kZero;
  const Ints sum = sum_quarters(sums);
  return kFactor == 0 ? sum : add_ints(sum, times(load_ints(unit.sum[h]), kFactor));
}

/// Units that are unpacked at a time.
constexpr std::size_t kPanelUnits = 8;

/// Codes of four rows as signed bytes, and their factors.
struct Panel {
  alignas(64) std::int8_t codes[kPanelUnits][4][128];  ///< [unit][block][TileWord order]
  std::int32_t sums[kPanelUnits][4][2][4];             ///< 128 sum c: [unit][block][half][row]
  bool raised;                                         ///< codes are 128 less than they should be
  alignas(64) float d[kGroups][kPanelUnits][2][16], m[kGroups][kPanelUnits][2][16];
};

template <class Format>
TERN_FIXED __attribute__((always_inline)) inline void store_codes(const Ints* w, std::size_t unit,
                                                                  std::size_t row, Panel& panel) {
  constexpr int kZero = Fixed<Format>::kZero;
  panel.raised = kEightBits<Format> && kZero == 0;
  const int zero = panel.raised ? 128 : kZero;
  for (std::size_t half = 0; half < 2; ++half) {
    const Ints codes = zero == 0 ? w[half] : subtract_bytes(w[half], bytes(zero));
    alignas(16) std::int32_t sums[16];
    store_ints(sums, dot_signed(zero_ints(), codes, bytes(1)));
    for (std::size_t block = 0; block < 4; ++block) {
      const std::int32_t* const lanes = sums + 4 * block;
      panel.sums[unit][block][half][row] = 128 * (lanes[0] + lanes[1] + lanes[2] + lanes[3]);
      store_tile_codes(codes.v[block], half, row, panel.codes[unit][block]);
    }
  }
}

/// As in fixed_sums_words.inc.h.
template <std::size_t V, std::size_t halves>
TERN_FIXED __attribute__((always_inline)) inline void block_sums(const Panel& panel,
                                                                 std::size_t unit,
                                                                 std::size_t block, std::size_t h,
                                                                 const FixedTile* const* tiles,
                                                                 Ints (*sums)[V]) {
  static_assert(V == 1 && kGroups == 1);
  std::int32_t add[4];
  for (std::size_t r = 0; r < 4; ++r) {
    const auto& of = panel.sums[unit][block];
    add[r] = halves == 2 ? of[h][r] : of[0][r] + of[1][r];
  }
  const auto* const x = reinterpret_cast<const std::int8_t*>(tiles[0]->pairs[block]);
  Ints rows[4];
  tile_sums<halves>(panel.codes[unit][block], x, h, add, rows);
  if (panel.raised) {
    const Ints raised = shift_left(token_sums<halves>(x, h), 7);
    for (std::size_t r = 0; r < 4; ++r) rows[r] = add_ints(rows[r], raised);
  }
  for (std::size_t r = 0; r < 4; ++r) sums[r][0] = rows[r];
}
