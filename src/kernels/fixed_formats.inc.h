// The codes and scales of each storage format as fixed_dot.inc.h wants them, for one instruction
// set: included inside its namespace with its words and TERN_FIXED defined.
//
// Fixed<Format> says, for a span of 256 columns,
//   kLayout         how activations meet it
//   kBytes          of codes in a span
//   kZero           what stands for 0 in the codes
//   kMin            whether there is a term that does not depend on the code
//   unpack<u>(b, w) codes of unit u at b as four vectors of words, or two of bytes (fixed_split_*)
//   kWords          is there if codes do not fit into bytes
//   scales(row)     d_w of its eight blocks, in the order of the layout; of half blocks, two of
//   them
// where they hold for kHalves: a scale for each 16 columns.
#define TERN_WORD TERN_FIXED __attribute__((always_inline)) inline

/// One row of a matrix, at a span.
struct Row {
  const std::byte *codes, *scales, *biases;
};

/// Factors of codes and of 1, for the eight blocks of a span; [1] for the last halves of them.
struct Scales {
  Eight d[2], m[2];
};

/// A codebook of small integers, `zero` added to each.
template <class Level>
TERN_WORD Ints codebook(const Level (&levels)[16], int zero) {
  std::uint8_t table[16];
  for (std::size_t i = 0; i < 16; ++i)
    table[i] = static_cast<std::uint8_t>(static_cast<int>(levels[i]) + zero);
  return four_times(table);
}
TERN_WORD void split_codebook(Ints table, Ints v, Ints* w) {
  split_bytes(lookup_bytes(table, low_nibbles(v)), lookup_bytes(table, high_nibbles(v)), w);
}

TERN_WORD std::uint64_t u64_at(const std::byte* p) {
  std::uint64_t value = 0;
  std::memcpy(&value, p, sizeof value);
  return value;
}

/// Factors of four rows for the two units of a span: lane 4 i + r for block i of row r.
struct GroupScales {
  Lanes d[2][2], m[2][2];  ///< [half][unit]
};

template <class Format>
struct Fixed;
/// Has `scales(rows, matrix, group_scales)` where four rows at once are faster than one by one.
template <class Format>
struct FourRows;

template <class Format, int zero, bool min>
struct FixedBlocks {
  static constexpr FixedLayout kLayout = {};
  static constexpr std::size_t kBytes = 8 * Format::kBytes;
  static constexpr int kZero = zero;
  static constexpr bool kMin = min;
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    s.d[0] = f16_column<Format::kBytes>(row.codes);
    if constexpr (min) s.m[0] = f16_column<Format::kBytes>(row.codes + 2);
  }
};

template <>
struct Fixed<Q4_0> : FixedBlocks<Q4_0, 8, false> {
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    split_nibbles(quarters<18>(b + 72 * u + 2), w);
  }
};

template <>
struct Fixed<Q4_1> : FixedBlocks<Q4_1, 0, true> {
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    split_nibbles(quarters<20>(b + 80 * u + 4), w);
  }
};

/// Four blocks with fifth bits in 4 bytes before the nibbles.
template <std::size_t stride>
TERN_WORD void split_fives(const std::byte* b, Ints* w) {
  const std::uint64_t low = u32_at(b) | std::uint64_t{u32_at(b + stride)} << 32;
  const std::uint64_t high = u32_at(b + 2 * stride) | std::uint64_t{u32_at(b + 3 * stride)} << 32;
  const std::uint64_t first = even_u16(low) | even_u16(high) << 32;
  const std::uint64_t last = odd_u16(low) | odd_u16(high) << 32;
  const Ints v = quarters<stride>(b + 4);
  split_bytes(bit_or(low_nibbles(v), where_bits(first, 16)),
              bit_or(high_nibbles(v), where_bits(last, 16)), w);
}

template <>
struct Fixed<Q5_0> : FixedBlocks<Q5_0, 16, false> {
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    split_fives<22>(b + 88 * u + 2, w);
  }
};

template <>
struct Fixed<Q5_1> : FixedBlocks<Q5_1, 0, true> {
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    split_fives<24>(b + 96 * u + 4, w);
  }
};

template <>
struct Fixed<Q8_0> : FixedBlocks<Q8_0, 128, false> {
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    const std::byte* const q = b + 136 * u + 2;
    split_bytes(bit_xor(quarters<34>(q), bytes(128)), bit_xor(quarters<34>(q + 16), bytes(128)), w);
  }
};

template <>
struct Fixed<Iq4Nl> : FixedBlocks<Iq4Nl, 128, false> {
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    split_codebook(codebook(kIq4, kZero), quarters<18>(b + 72 * u + 2), w);
  }
};

template <>
struct Fixed<Mxfp4> : FixedBlocks<Mxfp4, 12, false> {
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    split_codebook(codebook(kTwiceE2m1, kZero), quarters<17>(b + 68 * u + 1), w);
  }
  /// 2^(e - 128), as Mxfp4::scale
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    s.d[0] = half_e8m0(byte_column<17>(row.codes));
  }
};

// Super-blocks of 256 columns: a span is one.

/// The eight 6-bit scales and minima of Q4_K and Q5_K.
TERN_WORD void scales_and_minima(const std::byte* b, Scales& s) {
  const std::uint64_t first = u32_at(b + 4), second = u32_at(b + 8), third = u32_at(b + 12);
  const std::uint64_t scale =
      (first & 0x3f3f3f3f) | ((third & 0x0f0f0f0f) | ((first >> 2) & 0x30303030)) << 32;
  const std::uint64_t min =
      (second & 0x3f3f3f3f) | (((third >> 4) & 0x0f0f0f0f) | ((second >> 2) & 0x30303030)) << 32;
  s.d[0] = interleaved(scale_all(f16_at(b), bytes_to_floats(scale)));
  s.m[0] = interleaved(scale_all(-f16_at(b + 2), bytes_to_floats(min)));
}
/// Bytes 0-15 and 16-31 of the four runs of 32 at b.
TERN_WORD void runs(const std::byte* b, Ints* v) {
  v[0] = quarters<32>(b);
  v[1] = quarters<32>(b + 16);
}

template <>
struct Fixed<Q4K> {
  static constexpr FixedLayout kLayout = {Order::bytes, true, false};
  static constexpr std::size_t kBytes = Q4K::kBytes;
  static constexpr int kZero = 0;
  static constexpr bool kMin = true;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    Ints v[2];
    runs(b + 16, v);
    split_nibble<u>(v, w);
  }
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    scales_and_minima(row.codes, s);
  }
};

template <>
struct Fixed<Q5K> : Fixed<Q4K> {
  static constexpr std::size_t kBytes = Q5K::kBytes;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    Ints v[2];
    runs(b + 48, v);
    constexpr int k = u;
    for (std::size_t h = 0; h < 2; ++h) {
      const Ints high = quarters_right(four_times(b + 16 + 16 * h), k, k + 2, k + 4, k + 6);
      const Ints low = u == 0 ? low_nibbles(v[h]) : high_nibbles(v[h]);
      v[h] = bit_or(low, words_left<4>(bit_and(high, bytes(1))));
    }
    split_bytes(v[0], v[1], w);
  }
};

/// Sixteen scales, of the halves of blocks in turn.
TERN_WORD void sixteen_scales(float d, Bytes scales, Eight* out) {
  const Bytes halves = even_then_odd(scales);
  out[0] = scale_all(d, signed_to_floats(halves));
  out[1] = scale_all(d, signed_to_floats(last_bytes(halves)));
}

template <>
struct Fixed<Q2K> {
  static constexpr FixedLayout kLayout = {Order::bytes, false, true};
  static constexpr std::size_t kBytes = Q2K::kBytes;
  static constexpr int kZero = 0;
  static constexpr bool kMin = true;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    Ints v[2];
    for (std::size_t h = 0; h < 2; ++h)
      v[h] = bit_and(quarters_right(four_times(b + 16 + 32 * u + 16 * h), 0, 2, 4, 6), bytes(3));
    split_bytes(v[0], v[1], w);
  }
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    Bytes low, high;
    nibbles_of(load16(row.codes), low, high);
    sixteen_scales(f16_at(row.codes + 80), low, s.d);
    sixteen_scales(-f16_at(row.codes + 82), high, s.m);
  }
};

template <>
struct Fixed<Q3K> {
  static constexpr FixedLayout kLayout = {Order::bytes, false, true};
  static constexpr std::size_t kBytes = Q3K::kBytes;
  static constexpr int kZero = 4;
  static constexpr bool kMin = false;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    Ints v[2];
    constexpr int k = 4 * u;
    for (std::size_t h = 0; h < 2; ++h) {
      const Ints low = quarters_right(four_times(b + 32 + 32 * u + 16 * h), 0, 2, 4, 6);
      const Ints high = quarters_right(four_times(b + 16 * h), k, k + 1, k + 2, k + 3);
      v[h] = bit_or(bit_and(low, bytes(3)), words_left<2>(bit_and(high, bytes(1))));
    }
    split_bytes(v[0], v[1], w);
  }
  /// Four low bits of scale k in nibble k / 8 of byte k % 8, two high bits in byte 8 + k % 4.
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    const std::byte* const b = row.codes + 96;
    const std::uint64_t low = u64_at(b), high = u32_at(b + 8);
    const std::uint64_t pairs = high | high >> 2 << 32, nibble = 0x0f0f0f0f0f0f0f0f;
    const auto first = (low & nibble) | (pairs & 0x0303030303030303) << 4;
    const auto last = ((low >> 4) & nibble) | ((pairs >> 4) & 0x0303030303030303) << 4;
    sixteen_scales(f16_at(row.codes + 108), bytes_minus(sixteen_bytes(first, last), 32), s.d);
  }
};

template <>
struct Fixed<Q6K> {
  static constexpr FixedLayout kLayout = {Order::bytes, false, true};
  static constexpr std::size_t kBytes = Q6K::kBytes;
  static constexpr int kZero = 32;
  static constexpr bool kMin = false;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    Ints v[2];
    for (std::size_t h = 0; h < 2; ++h) {
      const std::byte* const ql = b + 64 * u + 16 * h;
      const Ints low = quarters_right(two_twice(ql, ql + 32), 0, 0, 4, 4);
      const Ints high = quarters_right(four_times(b + 128 + 32 * u + 16 * h), 0, 2, 4, 6);
      v[h] = bit_or(low_nibbles(low), words_left<4>(bit_and(high, bytes(3))));
    }
    split_bytes(v[0], v[1], w);
  }
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    sixteen_scales(f16_at(row.codes + 208), load16(row.codes + 192), s.d);
  }
};

template <>
struct Fixed<Iq4Xs> {
  static constexpr FixedLayout kLayout = {};
  static constexpr std::size_t kBytes = Iq4Xs::kBytes;
  static constexpr int kZero = 128;
  static constexpr bool kMin = false;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    split_codebook(codebook(kIq4, kZero), load_ints(b + 8 + 64 * u), w);
  }
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    const std::uint64_t scale =
        spread_nibbles(u32_at(row.codes + 4)) | spread_pairs(u16_at(row.codes + 2));
    s.d[0] = scale_all(f16_at(row.codes), minus_all(bytes_to_floats(scale), 32.0f));
  }
};

// MLX's modes: scales and biases stand in planes of their own.

/// The scales of 256 columns, each for `group` of them, from a plane of `type`.
TERN_WORD Eight plane_scales(const std::byte* p, const Matrix& matrix) {
  const std::size_t count = 256 / matrix.group;
  Eight v;
  if (matrix.scale_type == DType::f32) {
    float values[8] = {};
    std::memcpy(values, p, 4 * count);
    v = load_eight(values);
  } else {
    Bytes bits;
    if (count == 8)
      bits = load16(p);
    else if (count == 4)
      bits = first_bytes(u64_at(p));
    else
      bits = first_bytes(u32_at(p));
    v = matrix.scale_type == DType::f16 ? f16_bits_to_floats(bits) : bf16_bits_to_floats(bits);
  }
  if (count == 4) return each_twice(v);
  if (count == 2) return each_four_times(v);
  return v;
}

template <std::size_t bits, class Scale>
struct Fixed<MlxAffine<bits, Scale>> {
  static constexpr FixedLayout kLayout = {bits == 4   ? Order::nibbles
                                          : bits == 2 ? Order::crumbs
                                                      : Order::bytes,
                                          false, false};
  static constexpr std::size_t kBytes = 32 * bits;
  static constexpr int kZero = 0;
  static constexpr bool kMin = true;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    const std::byte* const codes = b + 16 * bits * u;
    if constexpr (bits == 4 || bits == 2) {
      split_fields<bits>(bits == 4 ? load_ints(codes) : crumbs(codes), w);
    } else if constexpr (bits == 8) {
      Ints v[2];
      runs(codes, v);
      split_bytes(v[0], v[1], w);
    } else {
      Ints v[2];
      octets<bits>(codes, v);
      split_bytes(v[0], v[1], w);
    }
  }
  TERN_WORD static void scales(const Row& row, const Matrix& matrix, Scales& s) {
    s.d[0] = plane_scales(row.scales, matrix);
    s.m[0] = plane_scales(row.biases, matrix);
  }
};

template <>
struct Fixed<MlxMxfp4> {
  static constexpr FixedLayout kLayout = {Order::nibbles, false, false};
  static constexpr std::size_t kBytes = 128;
  static constexpr int kZero = 12;
  static constexpr bool kMin = false;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    const Ints v = load_ints(b + 64 * u), table = codebook(kTwiceE2m1, kZero);
    split_even_odd(lookup_bytes(table, low_nibbles(v)), lookup_bytes(table, high_nibbles(v)), w);
  }
  /// Half of e8m0_to_float, as the codes are doubled.
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    float d[8];
    for (std::size_t i = 0; i < 8; ++i) d[i] = 0.5f * e8m0_to_float(byte_at(row.scales, i));
    s.d[0] = load_eight(d);
  }
};

template <>
struct Fixed<MlxNvfp4> {
  static constexpr FixedLayout kLayout = {Order::bytes, false, true};
  static constexpr std::size_t kBytes = 128;
  static constexpr int kZero = 12;
  static constexpr bool kMin = false;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    const Ints v = load_ints(b + 64 * u), table = codebook(kTwiceE2m1, kZero);
    const Ints even = lookup_bytes(table, low_nibbles(v)),
               odd = lookup_bytes(table, high_nibbles(v));
    split_bytes(zip_low(even, odd), zip_high(even, odd), w);
  }
  TERN_WORD static void scales(const Row& row, const Matrix&, Scales& s) {
    float d[2][8];
    for (std::size_t i = 0; i < 16; ++i)
      d[i % 2][i / 2] = 0.5f * e4m3_to_float(byte_at(row.scales, i));
    s.d[0] = load_eight(d[0]);
    s.d[1] = load_eight(d[1]);
  }
};

/// Levels are 16-bit integers, whose low and high bytes are looked up apart.
template <std::size_t bits>
struct Fixed<TurboWeights<bits>> {
  static constexpr bool kWords = true;
  static constexpr FixedLayout kLayout = {bits == 4   ? Order::bytes
                                          : bits == 2 ? Order::nibbles
                                                      : Order::runs,
                                          false, false};
  static constexpr std::size_t kBytes = 32 * bits;
  static constexpr int kZero = 0;
  static constexpr bool kMin = false;
  template <std::size_t u>
  TERN_WORD static void unpack(const std::byte* b, Ints* w) {
    const std::byte* const codes = b + 16 * bits * u;
    if constexpr (bits == 4) {  // even values, and odd ones
      const Ints v = load_ints(codes);
      levels(low_nibbles(v), w[0], w[2]);
      levels(high_nibbles(v), w[1], w[3]);
    } else if constexpr (bits == 2) {  // values 4 k and 4 k + 1, then 4 k + 2 and 4 k + 3
      const Ints v = crumbs(codes), mask = bytes(3);
      levels(bit_and(v, mask), w[0], w[1]);
      levels(bit_and(words_right<4>(v), mask), w[2], w[3]);
    } else {
      Ints v[2];
      octets<bits>(codes, v);
      levels(v[0], w[0], w[1]);
      levels(v[1], w[2], w[3]);
    }
  }
  TERN_WORD static void scales(const Row& row, const Matrix& matrix, Scales& s) {
    s.d[0] = scale_all(kTurboStep, plane_scales(row.scales, matrix));
  }

 private:
  struct Bytes {
    std::uint8_t low[32], high[32];
  };
  static constexpr Bytes kBytesOfLevels = [] {
    Bytes bytes{};
    for (std::size_t i = 0; i < 32; ++i) {
      const auto level = static_cast<std::uint16_t>(kTurboSteps<bits>[i]);
      bytes.low[i] = static_cast<std::uint8_t>(level & 0xff);
      bytes.high[i] = static_cast<std::uint8_t>(level >> 8);
    }
    return bytes;
  }();
  /// Of each 16 codes the first eight, and the others.
  TERN_WORD static void levels(Ints codes, Ints& first, Ints& last) {
    Ints low, high;
    if constexpr (bits == 5) {
      low = lookup_32(kBytesOfLevels.low, codes);
      high = lookup_32(kBytesOfLevels.high, codes);
    } else {
      low = lookup_bytes(four_times(kBytesOfLevels.low), codes);
      high = lookup_bytes(four_times(kBytesOfLevels.high), codes);
    }
    first = zip_low(low, high);
    last = zip_high(low, high);
  }
};

#undef TERN_WORD
