// Exact sums of tiles in pairs of words. Included after fixed_sums_words.inc.h.

/// Of one block, or of half h of it, of V tiles.
template <std::size_t V, std::size_t halves>
TERN_FIXED __attribute__((always_inline)) inline void block_sums(const Panel& panel,
                                                                 std::size_t unit,
                                                                 std::size_t block, std::size_t h,
                                                                 const FixedTile* const* tiles,
                                                                 Ints (*sums)[V]) {
  const std::size_t first = 4 / halves * h;
#pragma GCC unroll 4
  for (std::size_t j = first; j < first + 4 / halves; ++j)
#pragma GCC unroll 4
    for (std::size_t e = 0; e < 4; ++e) {
      Ints x[V];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < V; ++v) x[v] = load_ints(tiles[v]->pairs[block][4 * j + e]);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < 4 * kGroups; ++r) {
        int pair = 0;
        std::memcpy(&pair, &panel.codes[unit][r][j][8 * block + 2 * e], sizeof pair);
        const Ints w = ints(pair);
#pragma GCC unroll 4
        for (std::size_t v = 0; v < V; ++v)
          sums[r][v] = j == first && e == 0 ? first_dot(w, x[v]) : dot(sums[r][v], w, x[v]);
      }
    }
}
