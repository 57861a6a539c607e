// How fixed_formats.inc.h hands over the codes of a unit: two vectors of bytes, in the order of the
// planes of FixedUnit. Included before it, in place of fixed_split_words.inc.h.
#define TERN_WORD TERN_FIXED __attribute__((always_inline)) inline

/// Bytes of values 0-15 and 16-31.
TERN_WORD void split_bytes(Ints low, Ints high, Ints* w) {
  w[0] = low;
  w[1] = high;
}
/// Nibbles: the low ones are values 0-15.
TERN_WORD void split_nibbles(Ints v, Ints* w) {
  split_bytes(low_nibbles(v), high_nibbles(v), w);
}
/// Nibble u of the bytes of values 0-15 and 16-31.
template <std::size_t u>
TERN_WORD void split_nibble(const Ints* v, Ints* w) {
  for (std::size_t h = 0; h < 2; ++h) w[h] = u == 0 ? low_nibbles(v[h]) : high_nibbles(v[h]);
}
/// Consecutive values of 4 bits; or of 2, as `crumbs` lays them out.
template <std::size_t bits>
TERN_WORD void split_fields(Ints v, Ints* w) {
  split_nibbles(v, w);
  if constexpr (bits == 2)
    for (std::size_t h = 0; h < 2; ++h) w[h] = bit_and(w[h], bytes(3));
}
/// Bytes of even values and of odd ones, in Order::nibbles.
TERN_WORD void split_even_odd(Ints even, Ints odd, Ints* w) {
  split_bytes(even, odd, w);
}

#undef TERN_WORD
