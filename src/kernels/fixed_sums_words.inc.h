// Exact sums of codes times 16-bit activations, both as words. Included before fixed_dot.inc.h,
// inside the same namespace, with kTile defined; block_sums is beside it.

template <class Format>
constexpr FixedLayout layout_of() {
  FixedLayout layout = Fixed<Format>::kLayout;
  layout.tile = kTile;
  return layout;
}

/// Sums of unit u of rows r and tokens t, or of the halves h of its blocks: four lanes for each
/// block, which `total` adds.
template <class Format, std::size_t T, std::size_t u, std::size_t kHalves, class Next>
TERN_FIXED __attribute__((always_inline)) inline void unit_sums(const Row* rows, const FixedUnit* x,
                                                                std::size_t stride,
                                                                const Next& incoming,
                                                                Ints (*sums)[kHalves][4]) {
#pragma GCC unroll kRowsUnrolled
  for (std::size_t r = 0; r < 4; ++r) {
    incoming.template move<Fixed<Format>::kBytes>(4 * u + r);
    Ints w[4];
    Fixed<Format>::template unpack<u>(rows[r].codes, w);
#pragma GCC unroll 4
    for (std::size_t t = 0; t < T; ++t) {
      const auto& q = x[t * stride].q;
#pragma GCC unroll 2
      for (std::size_t h = 0; h < kHalves; ++h) {
        constexpr std::size_t kCount = 4 / kHalves;
        Ints sum = first_dot(w[kCount * h], load_ints(q[kCount * h]));
#pragma GCC unroll 4
        for (std::size_t j = kCount * h + 1; j < kCount * (h + 1); ++j)
          sum = dot(sum, w[j], load_ints(q[j]));
        sums[t][h][r] = sum;
      }
    }
  }
}

/// Block i of row r in lane 4 i + r.
template <class Format>
TERN_FIXED __attribute__((always_inline)) inline Ints total(const Ints* sums, const FixedUnit& unit,
                                                            std::size_t h) {
  constexpr int kZero = Fixed<Format>::kZero;
  const Ints sum = sum_quarters(sums);
  return kZero == 0 ? sum : add_ints(sum, times(load_ints(unit.sum[h]), -kZero));
}

/// Units that are unpacked at a time.
constexpr std::size_t kPanelUnits = 8;

/// Codes of kGroups times four rows as words, and their factors.
struct Panel {
  alignas(64) std::int16_t codes[kPanelUnits][4 * kGroups][4][32];
  alignas(64) float d[kGroups][kPanelUnits][2][16], m[kGroups][kPanelUnits][2][16];
};

/// Unpacked codes of a unit, as row `row` of the panel.
template <class Format>
TERN_FIXED __attribute__((always_inline)) inline void store_codes(const Ints* w, std::size_t unit,
                                                                  std::size_t row, Panel& panel) {
  constexpr int kZero = Fixed<Format>::kZero;
  for (std::size_t j = 0; j < 4; ++j)
    store_ints(panel.codes[unit][row][j], kZero == 0 ? w[j] : subtract_words(w[j], words(kZero)));
}
