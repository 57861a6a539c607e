// The factors of four rows at once on AVX2, where Fixed<Format>::scales would take them row by row.
// Included by fixed_avx2.cpp after fixed_formats.inc.h; the numbers are the same.
//
// Numbers come from memory into vectors, never through general registers: a byte or word that is
// stored and loaded again with a longer one waits until the store has left the core.
#define TERN_WORD TERN_FIXED __attribute__((always_inline)) inline

TERN_WORD __m128i load4(const std::byte* p) {
  return _mm_cvtsi32_si128(static_cast<int>(u32_at(p)));
}
TERN_WORD __m128i load8(const std::byte* p) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
}
TERN_WORD Lanes twice(__m128 v) {
  const __m256 both = _mm256_set_m128(v, v);
  return {both, both};
}
TERN_WORD Lanes negated(Lanes v) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_xor_ps(v.low, sign), _mm256_xor_ps(v.high, sign)};
}

/// The first four words of four rows: word 4 i + r of out[k] is word 2 k + i of row r.
TERN_WORD void transpose_words(const __m128i* row, __m128i* out) {
  const __m128i a = _mm_unpacklo_epi16(row[0], row[1]), b = _mm_unpacklo_epi16(row[2], row[3]);
  out[0] = _mm_unpacklo_epi32(a, b);
  out[1] = _mm_unpackhi_epi32(a, b);
}
/// The first eight bytes of four rows: byte 4 i + r of out[u] is byte 4 u + i of row r.
TERN_WORD void transpose_bytes(const __m128i* row, __m128i* out) {
  const __m128i a = _mm_unpacklo_epi8(row[0], row[1]), b = _mm_unpacklo_epi8(row[2], row[3]);
  out[0] = _mm_unpacklo_epi16(a, b);
  out[1] = _mm_unpackhi_epi16(a, b);
}
/// Sixteen bytes of four rows, for the halves of blocks in turn: byte 4 i + r of out[h][u] belongs
/// to half h of block 4 u + i.
TERN_WORD void transpose_halves(const __m128i* row, __m128i (*out)[2]) {
  const __m128i apart = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  __m128i halves[2][4];
  for (std::size_t r = 0; r < 4; ++r) {
    halves[0][r] = _mm_shuffle_epi8(row[r], apart);
    halves[1][r] = _mm_unpackhi_epi64(halves[0][r], halves[0][r]);
  }
  transpose_bytes(halves[0], out[0]);
  transpose_bytes(halves[1], out[1]);
}
/// Sixteen bytes, one to a lane.
TERN_WORD Ints widen_unsigned(__m128i v) {
  return {_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(v, v))};
}
TERN_WORD Ints widen_signed(__m128i v) {
  return {_mm256_cvtepi8_epi32(v), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v))};
}

/// f16 numbers at the start of each block of `size` bytes, or two of them.
template <class Format>
struct BlockRows {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    for (std::size_t u = 0; u < 2; ++u) {
      const __m128i block[4] = {of_block(rows, 4 * u), of_block(rows, 4 * u + 1),
                                of_block(rows, 4 * u + 2), of_block(rows, 4 * u + 3)};
      s.d[0][u] = {_mm256_cvtph_ps(_mm_unpacklo_epi64(block[0], block[1])),
                   _mm256_cvtph_ps(_mm_unpacklo_epi64(block[2], block[3]))};
      if constexpr (Fixed<Format>::kMin)
        s.m[0][u] = {_mm256_cvtph_ps(_mm_unpackhi_epi64(block[0], block[1])),
                     _mm256_cvtph_ps(_mm_unpackhi_epi64(block[2], block[3]))};
    }
  }

 private:
  /// The first words of block i of the rows, then the second ones.
  TERN_WORD static __m128i of_block(const Row* rows, std::size_t i) {
    const std::size_t at = i * Format::kBytes;
    const __m128i row[4] = {load4(rows[0].codes + at), load4(rows[1].codes + at),
                            load4(rows[2].codes + at), load4(rows[3].codes + at)};
    __m128i words[2];
    transpose_words(row, words);
    return words[0];
  }
};
template <>
struct FourRows<Q4_0> : BlockRows<Q4_0> {};
template <>
struct FourRows<Q4_1> : BlockRows<Q4_1> {};
template <>
struct FourRows<Q5_0> : BlockRows<Q5_0> {};
template <>
struct FourRows<Q5_1> : BlockRows<Q5_1> {};
template <>
struct FourRows<Q8_0> : BlockRows<Q8_0> {};
template <>
struct FourRows<Iq4Nl> : BlockRows<Iq4Nl> {};

/// Half of the power of two that stands for e, exponents 0 and 1 included; as Mxfp4::scale.
TERN_WORD __m256i half_e8m0(__m256i e) {
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
  const __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  return _mm256_blendv_epi8(small, normal, _mm256_cmpgt_epi32(e, one));
}
TERN_WORD Ints half_e8m0(Ints e) {
  return {half_e8m0(e.low), half_e8m0(e.high)};
}

template <>
struct FourRows<Mxfp4> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    for (std::size_t u = 0; u < 2; ++u) {
      const __m128i low = _mm_unpacklo_epi32(of_block(rows, 4 * u), of_block(rows, 4 * u + 1));
      const __m128i high = _mm_unpacklo_epi32(of_block(rows, 4 * u + 2), of_block(rows, 4 * u + 3));
      s.d[0][u] = as_floats(half_e8m0(widen_unsigned(_mm_unpacklo_epi64(low, high))));
    }
  }

 private:
  TERN_WORD static __m128i of_block(const Row* rows, std::size_t i) {
    const std::size_t at = i * Mxfp4::kBytes;
    const __m128i row[4] = {load4(rows[0].codes + at), load4(rows[1].codes + at),
                            load4(rows[2].codes + at), load4(rows[3].codes + at)};
    __m128i bytes[2];
    transpose_bytes(row, bytes);
    return bytes[0];
  }
};

/// The f16 number at `offset` of the codes of each row: row r in lanes 4 i + r.
TERN_WORD Lanes row_factors(const Row* rows, std::size_t offset) {
  __m128i bits = _mm_setzero_si128();
  bits = _mm_insert_epi16(bits, u16_at(rows[0].codes + offset), 0);
  bits = _mm_insert_epi16(bits, u16_at(rows[1].codes + offset), 1);
  bits = _mm_insert_epi16(bits, u16_at(rows[2].codes + offset), 2);
  bits = _mm_insert_epi16(bits, u16_at(rows[3].codes + offset), 3);
  return twice(_mm_cvtph_ps(bits));
}

/// Q4_K and Q5_K: 16 bytes d, dmin, and eight scales and minima of 6 bits, in the order of
/// interleaved blocks.
template <class Format>
struct SuperRows {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    __m128i scale[4], min[4];
    for (std::size_t r = 0; r < 4; ++r) {
      const __m128i v = load16(rows[r].codes);  // words of 32 bits: both d, first, second, third
      const __m128i six = _mm_and_si128(v, _mm_set1_epi32(0x3f3f3f3f));
      const __m128i third = _mm_srlv_epi32(_mm_shuffle_epi32(v, 0xff), _mm_setr_epi32(0, 0, 4, 0));
      const __m128i low = _mm_and_si128(third, _mm_set1_epi32(0x0f0f0f0f));
      const __m128i high = _mm_and_si128(_mm_srli_epi32(v, 2), _mm_set1_epi32(0x30303030));
      const __m128i last = _mm_or_si128(low, high);
      // Blocks 0, 2, 4, 6 are bytes 0 and 2 of `six` and of `last`; 1, 3, 5, 7 the others.
      const __m128i pairs = _mm_unpackhi_epi32(_mm_shuffle_epi32(six, 0x94),  // words 0 1 1 2
                                               _mm_shuffle_epi32(last, 0x94));
      const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
      scale[r] = _mm_shuffle_epi8(pairs, order);
      min[r] = _mm_unpackhi_epi64(scale[r], scale[r]);
    }
    const Lanes d = row_factors(rows, 0), m = negated(row_factors(rows, 2));
    __m128i bytes[2];
    transpose_bytes(scale, bytes);
    for (std::size_t u = 0; u < 2; ++u) s.d[0][u] = mul(d, to_floats(widen_unsigned(bytes[u])));
    transpose_bytes(min, bytes);
    for (std::size_t u = 0; u < 2; ++u) s.m[0][u] = mul(m, to_floats(widen_unsigned(bytes[u])));
  }
};
template <>
struct FourRows<Q4K> : SuperRows<Q4K> {};
template <>
struct FourRows<Q5K> : SuperRows<Q5K> {};

/// Sixteen scales of each row, of the halves of its blocks in turn, times d.
TERN_WORD void half_scales(Lanes d, const __m128i* scales, Lanes (*out)[2]) {
  __m128i bytes[2][2];
  transpose_halves(scales, bytes);
  for (std::size_t h = 0; h < 2; ++h)
    for (std::size_t u = 0; u < 2; ++u) out[h][u] = mul(d, to_floats(widen_signed(bytes[h][u])));
}

template <>
struct FourRows<Q6K> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const __m128i scales[4] = {load16(rows[0].codes + 192), load16(rows[1].codes + 192),
                               load16(rows[2].codes + 192), load16(rows[3].codes + 192)};
    half_scales(row_factors(rows, 208), scales, s.d);
  }
};

template <>
struct FourRows<Q2K> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const __m128i nibble = _mm_set1_epi8(15);
    __m128i scale[4], min[4];
    for (std::size_t r = 0; r < 4; ++r) {
      const __m128i both = load16(rows[r].codes);
      scale[r] = _mm_and_si128(both, nibble);
      min[r] = _mm_and_si128(_mm_srli_epi16(both, 4), nibble);
    }
    half_scales(row_factors(rows, 80), scale, s.d);
    half_scales(negated(row_factors(rows, 82)), min, s.m);
  }
};

template <>
struct FourRows<Q3K> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const __m128i at = _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9);
    const __m128i pairs_at =
        _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13);
    const __m128i quarter = _mm_setr_epi32(0, 0, 4, 4), twos = _mm_setr_epi32(0, 2, 4, 6);
    __m128i scale[4];
    for (std::size_t r = 0; r < 4; ++r) {
      const __m128i all = load16(rows[r].codes + 94);  // 12 bytes of scales, from the third on
      const __m128i low =
          _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi8(all, at), quarter), _mm_set1_epi8(15));
      const __m128i high =
          _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi8(all, pairs_at), twos), _mm_set1_epi8(3));
      scale[r] = _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
    }
    half_scales(row_factors(rows, 108), scale, s.d);
  }
};

template <>
struct FourRows<Iq4Xs> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const __m128i low_at = _mm_setr_epi8(4, 4, 5, 5, 6, 6, 7, 7, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i high_at = _mm_setr_epi8(2, 2, 2, 2, 3, 3, 3, 3, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m128i low_nibble = _mm_set1_epi16(0x000f), high_nibble = _mm_set1_epi16(0x0f00);
    // Two bits of each block, from 0, 2, 4 or 6 of a byte to 4 of a byte of its own.
    const __m128i moves = _mm_setr_epi16(16, 1, 16, 1, 0, 0, 0, 0);
    __m128i scale[4];
    for (std::size_t r = 0; r < 4; ++r) {
      const __m128i all = load8(rows[r].codes);
      const __m128i twice = _mm_shuffle_epi8(all, low_at), pairs = _mm_shuffle_epi8(all, high_at);
      const __m128i low = _mm_or_si128(
          _mm_and_si128(twice, low_nibble),
          _mm_and_si128(_mm_srli_epi16(_mm_and_si128(twice, _mm_set1_epi8(-16)), 4), high_nibble));
      const __m128i even = _mm_and_si128(_mm_mullo_epi16(pairs, moves), _mm_set1_epi16(0x0030));
      const __m128i odd =
          _mm_and_si128(_mm_mullo_epi16(_mm_srli_epi16(pairs, 2), moves), _mm_set1_epi16(0x3000));
      scale[r] = _mm_or_si128(low, _mm_or_si128(even, odd));
    }
    __m128i bytes[2];
    transpose_bytes(scale, bytes);
    const Lanes d = row_factors(rows, 0);
    for (std::size_t u = 0; u < 2; ++u)
      s.d[0][u] = mul(d, to_floats(subtract(widen_unsigned(bytes[u]), ints(32))));
  }
};

/// 256 columns' scales of four rows, `group` columns each, from planes of 16-bit floats.
template <class Scale>
TERN_WORD __m256 plane_floats(__m128i bits) {
  if constexpr (std::is_same_v<Scale, ScaleF16>) return _mm256_cvtph_ps(bits);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
/// Each half of v for two blocks.
TERN_WORD void each_twice(__m256 v, Lanes& out) {
  out.low = _mm256_permute2f128_ps(v, v, 0x00);
  out.high = _mm256_permute2f128_ps(v, v, 0x11);
}
template <class Scale>
TERN_WORD void plane_rows(const std::byte* const* p, std::size_t group, Lanes* out) {
  __m128i row[4], words[2];
  if (group == 64) {
    for (std::size_t r = 0; r < 4; ++r) row[r] = load8(p[r]);
    transpose_words(row, words);
    each_twice(plane_floats<Scale>(words[0]), out[0]);
    each_twice(plane_floats<Scale>(words[1]), out[1]);
  } else if (group == 128) {
    for (std::size_t r = 0; r < 4; ++r) row[r] = load4(p[r]);
    transpose_words(row, words);
    const __m256 v = plane_floats<Scale>(words[0]);
    each_twice(v, out[1]);
    out[0] = {out[1].low, out[1].low};
    out[1] = {out[1].high, out[1].high};
  } else {
    for (std::size_t r = 0; r < 4; ++r) row[r] = load16(p[r]);
    transpose_words(row, words);
    out[0] = {plane_floats<Scale>(words[0]), plane_floats<Scale>(words[1])};
    for (std::size_t r = 0; r < 4; ++r) row[r] = _mm_unpackhi_epi64(row[r], row[r]);
    transpose_words(row, words);
    out[1] = {plane_floats<Scale>(words[0]), plane_floats<Scale>(words[1])};
  }
}

template <std::size_t bits, class Scale>
  requires(!std::is_same_v<Scale, ScaleF32>)
struct FourRows<MlxAffine<bits, Scale>> {
  TERN_WORD static void scales(const Row* rows, const Matrix& matrix, GroupScales& s) {
    const std::byte* const d[4] = {rows[0].scales, rows[1].scales, rows[2].scales, rows[3].scales};
    const std::byte* const m[4] = {rows[0].biases, rows[1].biases, rows[2].biases, rows[3].biases};
    plane_rows<Scale>(d, matrix.group, s.d[0]);
    plane_rows<Scale>(m, matrix.group, s.m[0]);
  }
};

template <std::size_t bits>
struct FourRows<TurboWeights<bits>> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const std::byte* const d[4] = {rows[0].scales, rows[1].scales, rows[2].scales, rows[3].scales};
    plane_rows<ScaleF16>(d, kTurboGroup, s.d[0]);
    for (std::size_t u = 0; u < 2; ++u) s.d[0][u] = mul(s.d[0][u], broadcast(kTurboStep));
  }
};

template <>
struct FourRows<MlxMxfp4> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const __m128i row[4] = {load8(rows[0].scales), load8(rows[1].scales), load8(rows[2].scales),
                            load8(rows[3].scales)};
    __m128i bytes[2];
    transpose_bytes(row, bytes);
    for (std::size_t u = 0; u < 2; ++u) {
      const Ints e = widen_unsigned(bytes[u]);
      s.d[0][u] = as_floats(bit_or(half_e8m0(e), where_equal(e, ints(255), 0x7fc00000)));
    }
  }
};

template <>
struct FourRows<MlxNvfp4> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const __m128i row[4] = {load16(rows[0].scales), load16(rows[1].scales), load16(rows[2].scales),
                            load16(rows[3].scales)};
    __m128i bytes[2][2];
    transpose_halves(row, bytes);
    for (std::size_t h = 0; h < 2; ++h)
      for (std::size_t u = 0; u < 2; ++u) s.d[h][u] = half_e4m3(widen_signed(bytes[h][u]));
  }

 private:
  /// Half of an E4M3 number: its bits, moved, make a float that is 2^-120 of it.
  TERN_WORD static Lanes half_e4m3(Ints q) {
    const Ints moved = shift_left(q, 20);
    const Lanes value =
        mul(as_floats(bit_and(moved, ints(static_cast<int>(0x87f00000)))), broadcast(0x1p119f));
    const Ints nan = where_equal(bit_and(moved, ints(0x07f00000)), ints(0x07f00000), 0x7fc00000);
    return {_mm256_or_ps(value.low, _mm256_castsi256_ps(nan.low)),
            _mm256_or_ps(value.high, _mm256_castsi256_ps(nan.high))};
  }
};

#undef TERN_WORD
