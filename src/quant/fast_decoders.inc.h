// The formats of gguf_blocks.h and mlx_modes.h, sixteen lanes at a time, for one instruction set.
//
// fast_decoders.h includes this once for each, inside its namespace, with the words of lanes_*.h
// and TERN_TARGET defined; there is no include guard. Each decoder gives the floats of the scalar
// form bit for bit: the same products and sums, rounded in the same order, so a table of all
// values that a code can have is as good as the arithmetic on each code.
#define TERN_WORD TERN_TARGET __attribute__((always_inline)) inline

/// d levels[i], for i < 16
template <class Level>
TERN_WORD Table scaled(const Level (&levels)[16], Lanes d) {
  float values[16];
  for (int i = 0; i < 16; ++i) values[i] = static_cast<float>(levels[i]);
  return mul(d, load(values));
}

/// 0, 1, 2, ... 15, minus `offset`
TERN_WORD Lanes count_from(int offset) {
  float values[16];
  for (int i = 0; i < 16; ++i) values[i] = static_cast<float>(i - offset);
  return load(values);
}

/// Looks up both nibbles of 16 bytes.
TERN_WORD void lookup_nibbles(Table table, const std::byte* bytes, Lanes* y) {
  const Ints q = widen_u8(bytes);
  y[0] = lookup(table, q);
  y[1] = lookup(table, shift_right(q, 4));
}

/// Fast<Format>: kValues values from kBytes bytes into kValues / 16 Lanes.
template <class Format>
struct Fast;

// Plain numbers, sixteen at a time.

template <>
struct Fast<F32> {
  static constexpr std::size_t kValues = 16, kBytes = 64;
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    float values[16];
    std::memcpy(values, b, sizeof values);
    y[0] = load(values);
  }
};

template <>
struct Fast<F16> {
  static constexpr std::size_t kValues = 16, kBytes = 32;
  TERN_WORD static void decode(const std::byte* b, Lanes* y) { y[0] = f16_to_floats(b); }
};

template <>
struct Fast<Bf16> {
  static constexpr std::size_t kValues = 16, kBytes = 32;
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    y[0] = as_floats(shift_left(widen_u16(b), 16));
  }
};

// Blocks of 32.

template <>
struct Fast<Q4_0> : Q4_0 {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    lookup_nibbles(mul(broadcast_f16(b), count_from(8)), b + 2, y);
  }
};

template <>
struct Fast<Q4_1> : Q4_1 {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    lookup_nibbles(add(mul(broadcast_f16(b), count_from(0)), broadcast_f16(b + 2)), b + 4, y);
  }
};

/// Low nibbles and fifth bits of 32 values.
TERN_WORD void five_bits(const std::byte* low, std::uint32_t high, Ints* q) {
  const Ints bytes = widen_u8(low);
  q[0] = bit_or(bit_and(bytes, ints(15)), where_bit(high & 0xffff, 16));
  q[1] = bit_or(shift_right(bytes, 4), where_bit(high >> 16, 16));
}

template <>
struct Fast<Q5_0> : Q5_0 {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const Lanes d = broadcast_f16(b);
    Ints q[2];
    five_bits(b + 6, u32_at(b + 2), q);
    for (int i = 0; i < 2; ++i) y[i] = mul(d, to_floats(subtract(q[i], ints(16))));
  }
};

template <>
struct Fast<Q5_1> : Q5_1 {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const Lanes d = broadcast_f16(b), m = broadcast_f16(b + 2);
    Ints q[2];
    five_bits(b + 8, u32_at(b + 4), q);
    for (int i = 0; i < 2; ++i) y[i] = add(mul(d, to_floats(q[i])), m);
  }
};

template <>
struct Fast<Q8_0> : Q8_0 {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const Lanes d = broadcast_f16(b);
    y[0] = mul(d, to_floats(widen_i8(b + 2)));
    y[1] = mul(d, to_floats(widen_i8(b + 18)));
  }
};

template <>
struct Fast<Iq4Nl> : Iq4Nl {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    lookup_nibbles(scaled(kIq4, broadcast_f16(b)), b + 2, y);
  }
};

template <>
struct Fast<Mxfp4> : Mxfp4 {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    lookup_nibbles(scaled(kTwiceE2m1, broadcast(scale(byte_at(b, 0)))), b + 1, y);
  }
};

// Super-blocks of 256.

template <>
struct Fast<Q2K> : Q2K {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const float d = f16_at(b + 80), dmin = f16_at(b + 82);
    for (int half = 0; half < 2; ++half)
      for (int odd = 0; odd < 2; ++odd) {
        const Ints qs = widen_u8(b + 16 + 32 * half + 16 * odd);
        for (int pair = 0; pair < 4; ++pair) {
          const int k = 8 * half + 2 * pair + odd;
          const std::uint8_t scale = byte_at(b, static_cast<std::size_t>(k));
          const Lanes dl = broadcast(d * static_cast<float>(nibble(scale, 0)));
          const Lanes ml = broadcast(dmin * static_cast<float>(nibble(scale, 1)));
          const Ints q = bit_and(shift_right(qs, 2 * pair), ints(3));
          y[k] = sub(mul(dl, to_floats(q)), ml);
        }
      }
  }
};

template <>
struct Fast<Q3K> : Q3K {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const float d = f16_at(b + 108);
    for (int odd = 0; odd < 2; ++odd) {
      const Ints hmask = widen_u8(b + 16 * odd);
      for (int half = 0; half < 2; ++half) {
        const Ints qs = widen_u8(b + 32 + 32 * half + 16 * odd);
        for (int pair = 0; pair < 4; ++pair) {
          const int k = 8 * half + 2 * pair + odd;
          const Lanes dl =
              broadcast(d * static_cast<float>(scale(b + 96, static_cast<std::size_t>(k))));
          const Ints low = bit_and(shift_right(qs, 2 * pair), ints(3));
          const Ints high = bit_and(shift_left(shift_right(hmask, k / 2), 2), ints(4));
          y[k] = mul(dl, to_floats(subtract(bit_or(low, high), ints(4))));
        }
      }
    }
  }
};

template <>
struct Fast<Q4K> : Q4K {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const float d = f16_at(b), dmin = f16_at(b + 2);
    for (std::size_t pair = 0; pair < 4; ++pair) {
      const Ints bytes[2] = {widen_u8(b + 16 + 32 * pair), widen_u8(b + 32 + 32 * pair)};
      for (std::size_t high = 0; high < 2; ++high) {
        const auto [scale, min] = ScaleMin::at(b + 4, 2 * pair + high);
        const Lanes dl = broadcast(d * static_cast<float>(scale));
        const Lanes ml = broadcast(dmin * static_cast<float>(min));
        const Table table = sub(mul(dl, count_from(0)), ml);
        for (std::size_t i = 0; i < 2; ++i)
          y[4 * pair + 2 * high + i] =
              lookup(table, high == 0 ? bytes[i] : shift_right(bytes[i], 4));
      }
    }
  }
};

template <>
struct Fast<Q5K> : Q5K {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const float d = f16_at(b), dmin = f16_at(b + 2);
    for (int i = 0; i < 2; ++i) {
      const Ints qh = widen_u8(b + 16 + 16 * i);
      for (int j = 0; j < 8; ++j) {
        const auto [scale, min] = ScaleMin::at(b + 4, static_cast<std::size_t>(j));
        const Lanes dl = broadcast(d * static_cast<float>(scale));
        const Lanes ml = broadcast(dmin * static_cast<float>(min));
        const Ints bytes = widen_u8(b + 48 + 32 * (j / 2) + 16 * i);
        const Ints low = bit_and(shift_right(bytes, 4 * (j % 2)), ints(15));
        const Ints high = bit_and(shift_left(shift_right(qh, j), 4), ints(16));
        y[2 * j + i] = sub(mul(dl, to_floats(bit_or(low, high))), ml);
      }
    }
  }
};

template <>
struct Fast<Q6K> : Q6K {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const float d = f16_at(b + 208);
    for (int k = 0; k < 16; ++k) {
      const int half = k / 8, run = k % 8 / 2, first = 16 * (k % 2);
      const auto scale = static_cast<std::int8_t>(byte_at(b, static_cast<std::size_t>(192 + k)));
      const Ints ql = widen_u8(b + 64 * half + 32 * (run % 2) + first);
      const Ints qh = widen_u8(b + 128 + 32 * half + first);
      const Ints low = bit_and(shift_right(ql, 4 * (run / 2)), ints(15));
      const Ints high = bit_and(shift_left(shift_right(qh, 2 * run), 4), ints(48));
      const Lanes dl = broadcast(d * static_cast<float>(scale));
      y[k] = mul(dl, to_floats(subtract(bit_or(low, high), ints(32))));
    }
  }
};

template <>
struct Fast<Iq4Xs> : Iq4Xs {
  TERN_WORD static void decode(const std::byte* b, Lanes* y) {
    const float d = f16_at(b);
    for (std::size_t j = 0; j < 8; ++j)
      lookup_nibbles(scaled(kIq4, broadcast(d * static_cast<float>(scale(b, j)))), b + 8 + 16 * j,
                     y + 2 * j);
  }
};

/// A place in a row. next() decodes kValues values and moves on; begin_group() comes first, and
/// again after every group_units() of them. tail() decodes what is less than kValues at the end of
/// a row of plain numbers, and zeros behind it.
template <class Format>
struct Cursor {
  static constexpr std::size_t kValues = Fast<Format>::kValues;
  static constexpr bool kHasTail = Format::kValues == 1;
  const std::byte* at;

  TERN_WORD Cursor(const Matrix& matrix, std::size_t row)
      : at(matrix.codes + row * matrix.code_stride) {}
  TERN_WORD static std::size_t group_units(const Matrix&) { return 1; }
  TERN_WORD void begin_group() {}
  TERN_WORD void next(Lanes* y) {
    Fast<Format>::decode(at, y);
    at += Fast<Format>::kBytes;
  }
  TERN_WORD Lanes tail(std::size_t n) const {
    float values[16] = {};
    for (std::size_t i = 0; i < n; ++i) Format::decode(at + i * Format::kBytes, values + i);
    return load(values);
  }
};

/// Two to four bits: a table of the values of a group. More: arithmetic on each code.
template <std::size_t bits, class Scale>
struct Cursor<MlxAffine<bits, Scale>> {
  static constexpr std::size_t kValues = 32;
  static constexpr bool kHasTail = false;
  const std::byte *codes, *scales, *biases;
  std::size_t group = 0;
  Lanes scale, bias;
  Table table;

  TERN_WORD Cursor(const Matrix& matrix, std::size_t row)
      : codes(matrix.codes + row * matrix.code_stride),
        scales(matrix.scales + row * matrix.scale_stride),
        biases(matrix.biases + row * matrix.scale_stride) {}
  TERN_WORD static std::size_t group_units(const Matrix& matrix) { return matrix.group / kValues; }
  TERN_WORD void begin_group() {
    scale = broadcast(Scale::at(scales, group));
    bias = broadcast(Scale::at(biases, group));
    ++group;
    if constexpr (bits <= 4) {
      float levels[16];  // bits above the code's own must not matter: repeat
      for (int i = 0; i < 16; ++i) levels[i] = static_cast<float>(i % (1 << bits));
      table = add(mul(scale, load(levels)), bias);
    }
  }
  TERN_WORD void next(Lanes* y) {
    for (std::size_t i = 0; i < 2; ++i, codes += 2 * bits) {
      const Ints q = unpack<bits>(codes);
      if constexpr (bits <= 4)
        y[i] = lookup(table, q);
      else
        y[i] = add(mul(scale, to_floats(bit_and(q, ints((1 << bits) - 1)))), bias);
    }
  }
};

template <float (*scale_of)(std::uint8_t)>
struct Cursor<MlxFp4<scale_of>> {
  static constexpr std::size_t kValues = 16;
  static constexpr bool kHasTail = false;
  const std::byte *codes, *scales;
  Table table;

  TERN_WORD Cursor(const Matrix& matrix, std::size_t row)
      : codes(matrix.codes + row * matrix.code_stride),
        scales(matrix.scales + row * matrix.scale_stride) {}
  TERN_WORD static std::size_t group_units(const Matrix& matrix) { return matrix.group / kValues; }
  TERN_WORD void begin_group() { table = scaled(kE2m1, broadcast(scale_of(byte_at(scales++, 0)))); }
  TERN_WORD void next(Lanes* y) {
    y[0] = lookup(table, unpack<4>(codes));
    codes += 8;
  }
};

template <>
struct Cursor<MlxMxfp8> {
  static constexpr std::size_t kValues = 16;
  static constexpr bool kHasTail = false;
  const std::byte *codes, *scales;
  Lanes scale;

  TERN_WORD Cursor(const Matrix& matrix, std::size_t row)
      : codes(matrix.codes + row * matrix.code_stride),
        scales(matrix.scales + row * matrix.scale_stride) {}
  TERN_WORD static std::size_t group_units(const Matrix& matrix) { return matrix.group / kValues; }
  TERN_WORD void begin_group() { scale = broadcast(e8m0_to_float(byte_at(scales++, 0))); }
  TERN_WORD void next(Lanes* y) {
    y[0] = mul(scale, mul(e4m3_over_256(codes), broadcast(256)));
    codes += 16;
  }
};

/// A table of the values of a group, whatever the bits; for five bits in two halves.
template <std::size_t bits>
struct Cursor<TurboWeights<bits>> {
  static constexpr std::size_t kValues = 32;
  static constexpr bool kHasTail = false;
  const std::byte *codes, *scales;
  Table levels[2], table[2];

  TERN_WORD Cursor(const Matrix& matrix, std::size_t row)
      : codes(matrix.codes + row * matrix.code_stride),
        scales(matrix.scales + row * matrix.scale_stride) {
    const float* const values = turbo_levels(bits);
    levels[0] = load(values);
    levels[1] = load(values + 16);
  }
  TERN_WORD static std::size_t group_units(const Matrix& matrix) { return matrix.group / kValues; }
  TERN_WORD void begin_group() {
    const Lanes scale = broadcast_f16(scales);
    scales += 2;
    table[0] = mul(scale, levels[0]);
    if constexpr (bits == 5) table[1] = mul(scale, levels[1]);
  }
  TERN_WORD void next(Lanes* y) {
    for (std::size_t i = 0; i < 2; ++i, codes += 2 * bits) {
      const Ints q = unpack<bits>(codes);
      if constexpr (bits == 5)
        y[i] = lookup(table[0], table[1], q);
      else
        y[i] = lookup(table[0], q);
    }
  }
};

/// DecodeRow for one format.
template <class Format>
TERN_TARGET void decode_row(const Matrix& matrix, std::size_t row, std::span<float> out) {
  TERN_CHECK(row < matrix.rows && out.size() == matrix.cols);
  using Row = Cursor<Format>;
  Row cursor(matrix, row);
  const std::size_t units = Row::group_units(matrix);
  float* y = out.data();
  float* const end = y + out.size() / Row::kValues * Row::kValues;
  while (y != end) {
    cursor.begin_group();
    for (std::size_t u = 0; u < units; ++u, y += Row::kValues) {
      Lanes values[Row::kValues / 16];
      cursor.next(values);
      for (std::size_t i = 0; i < Row::kValues / 16; ++i) store(y + 16 * i, values[i]);
    }
  }
  if constexpr (Row::kHasTail) {
    float values[16];
    const std::size_t rest = out.size() % Row::kValues;
    store(values, cursor.tail(rest));
    std::memcpy(y, values, rest * sizeof(float));
  }
}

#undef TERN_WORD
