// Codes of a BytePanel. Included after fixed_formats.inc.h, before fixed_dot.inc.h.

/// Unit u of a span of four rows.
template <class Format, std::size_t u>
TERN_FIXED __attribute__((always_inline)) inline void unpack_unit(
    const Row* rows, const GroupScales& s, std::size_t group, std::size_t unit, BytePanel& panel) {
  using F = Fixed<Format>;
  for (std::size_t r = 0; r < 4; ++r) {
    Ints w[4], blocks[2];
    F::template unpack<u>(rows[r].codes, w);
    Ints first = narrow_words(w[0], w[1]), last = narrow_words(w[2], w[3]);
    if constexpr (F::kZero != 0) {
      first = subtract_bytes(first, bytes(F::kZero));
      last = subtract_bytes(last, bytes(F::kZero));
    }
    zip_quarters(first, last, blocks);
    for (std::size_t b = 0; b < 4; b += 2)
      store_halves(panel.codes[unit][b][4 * group + r], panel.codes[unit][b + 1][4 * group + r],
                   blocks[b / 2]);
  }
  for (std::size_t h = 0; h < (F::kLayout.halves ? 2 : 1); ++h) {
    store(panel.d[unit][h] + 16 * group, s.d[h][u]);
    if constexpr (F::kMin) store(panel.m[unit][h] + 16 * group, s.m[h][u]);
  }
}
