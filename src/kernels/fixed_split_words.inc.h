// How fixed_formats.inc.h hands over the codes of a unit: four vectors of words, in the order of
// FixedUnit::q. Included before it.
#define TERN_WORD TERN_FIXED __attribute__((always_inline)) inline

/// Words from bytes of values 0-15 and 16-31.
TERN_WORD void split_bytes(Ints low, Ints high, Ints* w) {
  const Ints byte = words(0xff);
  w[0] = bit_and(low, byte);
  w[1] = words_right<8>(low);
  w[2] = bit_and(high, byte);
  w[3] = words_right<8>(high);
}
/// Nibbles: the low ones are values 0-15.
TERN_WORD void split_nibbles(Ints v, Ints* w) {
  const Ints nibble = words(15);
  w[0] = bit_and(v, nibble);
  w[1] = bit_and(words_right<8>(v), nibble);
  w[2] = bit_and(words_right<4>(v), nibble);
  w[3] = words_right<12>(v);
}
/// Nibble u of the bytes of values 0-15 and 16-31.
template <std::size_t u>
TERN_WORD void split_nibble(const Ints* v, Ints* w) {
  for (std::size_t h = 0; h < 2; ++h) {
    w[2 * h] = bit_and(words_right<4 * u>(v[h]), words(15));
    w[2 * h + 1] = bit_and(words_right<8 + 4 * u>(v[h]), words(15));
  }
}
/// Consecutive values of 4 bits; or of 2, as `crumbs` lays them out.
template <std::size_t bits>
TERN_WORD void split_fields(Ints v, Ints* w) {
  const Ints mask = words((1 << bits) - 1);
  w[0] = bit_and(v, mask);
  w[1] = bit_and(words_right<4>(v), mask);
  w[2] = bit_and(words_right<8>(v), mask);
  w[3] = bit_and(words_right<12>(v), mask);
}
/// Bytes of even values and of odd ones, in Order::nibbles.
TERN_WORD void split_even_odd(Ints even, Ints odd, Ints* w) {
  Ints v[4];
  split_bytes(even, odd, v);
  w[0] = v[0];
  w[1] = v[2];
  w[2] = v[1];
  w[3] = v[3];
}

#undef TERN_WORD
