// The factors of four rows at once on AVX-512, where Fixed<Format>::scales would take them row by
// row. Included by fixed_avx512.cpp after fixed_formats.inc.h; the numbers are the same.
#define TERN_WORD TERN_FIXED __attribute__((always_inline)) inline

/// 16 bytes at `offset` of the codes of each row.
TERN_WORD Ints headers(const Row* rows, std::size_t offset) {
  const __m256i low = fixed_avx2::two_quarters(rows[0].codes + offset, rows[1].codes + offset);
  const __m256i high = fixed_avx2::two_quarters(rows[2].codes + offset, rows[3].codes + offset);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/// Tables of indices for lane 4 i + r.
struct LaneBytes {
  std::uint8_t at[64];
};
/// The byte base + 16 r + step i, in byte `place` of the lane.
constexpr LaneBytes lane_bytes(std::size_t base, std::size_t row, std::size_t step,
                               std::size_t place) {
  LaneBytes bytes{};
  for (std::size_t lane = 0; lane < 16; ++lane)
    bytes.at[4 * lane + place] =
        static_cast<std::uint8_t>(base + row * (lane % 4) + step * (lane / 4));
  return bytes;
}
/// Bytes base + row r + step i of v, as numbers without sign, one in each lane.
template <std::size_t base, std::size_t row, std::size_t step>
TERN_WORD Ints spread_bytes(Ints v) {
  static constexpr LaneBytes kAt = lane_bytes(base, row, step, 0);
  return _mm512_maskz_permutexvar_epi8(0x1111111111111111, load_ints(kAt.at), v);
}
template <std::size_t base, std::size_t row, std::size_t step>
TERN_WORD Ints spread_signed(Ints v) {
  static constexpr LaneBytes kAt = lane_bytes(base, row, step, 3);
  const Ints top = _mm512_maskz_permutexvar_epi8(0x8888888888888888, load_ints(kAt.at), v);
  return _mm512_srai_epi32(top, 24);
}

/// The f16 number at `offset` of the codes of each row: row r in lanes 4 i + r.
TERN_WORD Lanes row_factors(const Row* rows, std::size_t offset) {
  std::uint64_t bits = 0;
  for (std::size_t r = 0; r < 4; ++r)
    bits |= std::uint64_t{u16_at(rows[r].codes + offset)} << (16 * r);
  return _mm512_broadcast_f32x4(_mm_cvtph_ps(_mm_cvtsi64_si128(static_cast<long long>(bits))));
}
TERN_WORD Lanes negated(Lanes v) {
  return _mm512_xor_ps(v, _mm512_set1_ps(-0.0f));
}

/// Where the words first + stride i (i < 8) are, of 64 words and of others from `last` on.
struct Columns {
  std::uint16_t low[32], high[32];
  std::uint32_t from_high;
};
template <std::size_t stride, std::size_t first, std::size_t last>
constexpr Columns kColumn = [] {
  Columns columns{};
  for (std::size_t i = 0; i < 8; ++i) {
    const std::size_t word = first + stride * i;
    if (word < 64) {
      columns.low[i] = static_cast<std::uint16_t>(word);
    } else {
      columns.high[i] = static_cast<std::uint16_t>(word - last);
      columns.from_high |= 1u << i;
    }
  }
  return columns;
}();
/// 16 bits at `offset` of eight blocks of `size` bytes at p.
template <std::size_t size, std::size_t offset>
TERN_WORD __m128i column_bits(const std::byte* p) {
  constexpr std::size_t kLast = std::min<std::size_t>(128, 8 * size - 64);
  constexpr const Columns& kAt = kColumn<size / 2, offset / 2, kLast / 2>;
  Ints found = _mm512_permutex2var_epi16(load_ints(p), load_ints(kAt.low), load_ints(p + 64));
  if constexpr (kAt.from_high != 0) {
    const Ints at = load_ints(kAt.high), low = load_ints(p + kLast);
    const Ints more = 8 * size >= 256
                          ? _mm512_permutex2var_epi16(low, at, load_ints(p + kLast + 64))
                          : _mm512_permutexvar_epi16(at, low);
    found = _mm512_mask_blend_epi16(kAt.from_high, found, more);
  }
  return _mm512_castsi512_si128(found);
}
/// Those of four rows, in lanes 4 i + r for each unit.
template <std::size_t size, std::size_t offset>
TERN_WORD void f16_columns(const Row* rows, Lanes* out) {
  __m128i bits[4];
  for (std::size_t r = 0; r < 4; ++r) bits[r] = column_bits<size, offset>(rows[r].codes);
  const Lanes low = _mm512_cvtph_ps(_mm256_set_m128i(bits[1], bits[0]));
  const Lanes high = _mm512_cvtph_ps(_mm256_set_m128i(bits[3], bits[2]));
  const Ints at = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
  out[0] = _mm512_permutex2var_ps(low, at, high);
  out[1] = _mm512_permutex2var_ps(low, add_ints(at, ints(4)), high);
}

template <class Format>
struct BlockRows {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    f16_columns<Format::kBytes, 0>(rows, s.d[0]);
    if constexpr (Fixed<Format>::kMin) f16_columns<Format::kBytes, 2>(rows, s.m[0]);
  }
};
template <>
struct FourRows<Q4_0> : BlockRows<Q4_0> {};
template <>
struct FourRows<Q5_0> : BlockRows<Q5_0> {};
template <>
struct FourRows<Q8_0> : BlockRows<Q8_0> {};
template <>
struct FourRows<Iq4Nl> : BlockRows<Iq4Nl> {};

template <>
struct FourRows<Q4_1> : BlockRows<Q4_1> {};
template <>
struct FourRows<Q5_1> : BlockRows<Q5_1> {};

/// 2^(e - 128), for e in every lane; as Mxfp4::scale.
TERN_WORD Ints half_e8m0(Ints e) {
  const Ints normal = _mm512_slli_epi32(_mm512_sub_epi32(e, ints(1)), 23);
  const Ints small = _mm512_sllv_epi32(ints(0x00200000), e);
  return _mm512_mask_blend_epi32(_mm512_cmpgt_epi32_mask(e, ints(1)), small, normal);
}

template <>
struct FourRows<Mxfp4> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    __m128i column[4];
    for (std::size_t r = 0; r < 4; ++r) column[r] = byte_column<17>(rows[r].codes);
    const Ints all = _mm512_castsi256_si512(_mm256_set_m128i(
        _mm_unpacklo_epi64(column[2], column[3]), _mm_unpacklo_epi64(column[0], column[1])));
    s.d[0][0] = as_floats(half_e8m0(spread_bytes<0, 8, 1>(all)));
    s.d[0][1] = as_floats(half_e8m0(spread_bytes<4, 8, 1>(all)));
  }
};

/// Q4_K and Q5_K: 16 bytes d, dmin, and eight scales and minima of 6 bits.
template <class Format>
struct SuperRows {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const Ints v = headers(rows, 0);  // words of 32 bits: both d, first, second, third
    const Ints first = bit_and(v, ints(0x3f3f3f3f));
    const Ints third = _mm512_shuffle_epi32(v, _MM_PERM_DDDA);
    const Ints shifts = _mm512_setr_epi32(0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0);
    const Ints low = bit_and(_mm512_srlv_epi32(third, shifts), ints(0x0f0f0f0f));
    const Ints high = bit_and(_mm512_srli_epi32(v, 2), ints(0x30303030));
    const Ints last = bit_or(low, high);
    const Lanes d = factors(v, 0), m = negated(factors(v, 1));
    for (std::size_t u = 0; u < 2; ++u) {
      s.d[0][u] = mul(d, to_floats(block_bytes(first, last, 4 + u)));
      s.m[0][u] = mul(m, to_floats(block_bytes(first, last, 8 + u)));
    }
  }

 private:
  /// Word `at` of each row's 16 bytes, in lanes 4 i + r.
  TERN_WORD static Lanes factors(Ints v, int at) {
    const Ints moved = _mm512_add_epi16(_mm512_set1_epi64(0x0018001000080000), words(at));
    return _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(moved, v)));
  }
  /// Bytes at, at + 2 of `first` and of `last`, in lanes 4 i + r.
  TERN_WORD static Ints block_bytes(Ints first, Ints last, std::size_t at) {
    static constexpr LaneBytes kAt = [] {
      LaneBytes bytes{};
      for (std::size_t lane = 0; lane < 16; ++lane)
        bytes.at[4 * lane] =
            static_cast<std::uint8_t>(16 * (lane % 4) + lane / 4 % 2 * 2 + lane / 8 * 64);
      return bytes;
    }();
    const Ints index = _mm512_add_epi8(load_ints(kAt.at), bytes(static_cast<int>(at)));
    return _mm512_maskz_permutex2var_epi8(0x1111111111111111, first, index, last);
  }
};
template <>
struct FourRows<Q4K> : SuperRows<Q4K> {};
template <>
struct FourRows<Q5K> : SuperRows<Q5K> {};

/// Sixteen scales of each row, of the halves of its blocks in turn, times d.
TERN_WORD void half_scales(Lanes d, Ints scales, Lanes (*out)[2]) {
  out[0][0] = mul(d, to_floats(spread_signed<0, 16, 2>(scales)));
  out[1][0] = mul(d, to_floats(spread_signed<1, 16, 2>(scales)));
  out[0][1] = mul(d, to_floats(spread_signed<8, 16, 2>(scales)));
  out[1][1] = mul(d, to_floats(spread_signed<9, 16, 2>(scales)));
}

template <>
struct FourRows<Q6K> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    half_scales(row_factors(rows, 208), headers(rows, 192), s.d);
  }
};

template <>
struct FourRows<Q2K> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const Ints both = headers(rows, 0);
    half_scales(row_factors(rows, 80), low_nibbles(both), s.d);
    half_scales(negated(row_factors(rows, 82)), high_nibbles(both), s.m);
  }
};

template <>
struct FourRows<Q3K> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const Ints all = headers(rows, 94);  // 12 bytes of scales, from the third on, and d
    const Ints at =
        _mm512_broadcast_i32x4(_mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    const Ints pairs_at = _mm512_broadcast_i32x4(
        _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    const Ints quarter = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 4, 4));
    const Ints twos = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 2, 4, 6));
    const Ints low = bit_and(_mm512_srlv_epi32(lookup_bytes(all, at), quarter), bytes(15));
    const Ints high = bit_and(_mm512_srlv_epi32(lookup_bytes(all, pairs_at), twos), bytes(3));
    const Ints scales = _mm512_sub_epi8(bit_or(low, words_left<4>(high)), bytes(32));
    half_scales(row_factors(rows, 108), scales, s.d);
  }
};

template <>
struct FourRows<Iq4Xs> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    std::uint64_t scale[4];
    for (std::size_t r = 0; r < 4; ++r)
      scale[r] = _pdep_u64(u32_at(rows[r].codes + 4), 0x0f0f0f0f0f0f0f0f) |
                 _pdep_u64(u16_at(rows[r].codes + 2), 0x3030303030303030);
    const Ints all = _mm512_castsi256_si512(load32(reinterpret_cast<const std::byte*>(scale)));
    const Lanes d = row_factors(rows, 0);
    s.d[0][0] = mul(d, to_floats(subtract(spread_bytes<0, 8, 1>(all), ints(32))));
    s.d[0][1] = mul(d, to_floats(subtract(spread_bytes<4, 8, 1>(all), ints(32))));
  }
};

/// 256 columns' scales of four rows, `group` columns each, from planes of 16-bit floats.
TERN_WORD Lanes plane_floats(__m256i bits, DType type) {
  return type == DType::f16 ? _mm512_cvtph_ps(bits)
                            : as_floats(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
TERN_WORD __m128i u64_pair(const std::byte* a, const std::byte* b) {
  return _mm_set_epi64x(static_cast<long long>(u64_at(b)), static_cast<long long>(u64_at(a)));
}
TERN_WORD void plane_rows(const std::byte* const* p, const Matrix& matrix, Lanes* out) {
  const Ints row = _mm512_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  const Ints block = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  if (matrix.group == 64) {  // four of each row: lane 4 r + g
    const __m256i bits = _mm256_set_m128i(u64_pair(p[2], p[3]), u64_pair(p[0], p[1]));
    const Lanes v = plane_floats(bits, matrix.scale_type);
    const Ints at = add_ints(_mm512_slli_epi32(row, 2), _mm512_srli_epi32(block, 1));
    out[0] = lookup(v, at);
    out[1] = lookup(v, add_ints(at, ints(2)));
  } else if (matrix.group == 128) {  // two of each row: lane 2 r + g
    const __m128i bits =
        _mm_setr_epi32(static_cast<int>(u32_at(p[0])), static_cast<int>(u32_at(p[1])),
                       static_cast<int>(u32_at(p[2])), static_cast<int>(u32_at(p[3])));
    const Lanes v = plane_floats(_mm256_castsi128_si256(bits), matrix.scale_type);
    const Ints at = _mm512_slli_epi32(row, 1);
    out[0] = lookup(v, at);
    out[1] = lookup(v, add_ints(at, ints(1)));
  } else {  // eight of each row: lanes 8 (r % 2) + g of two vectors
    const Lanes low = plane_floats(fixed_avx2::two_quarters(p[0], p[1]), matrix.scale_type);
    const Lanes high = plane_floats(fixed_avx2::two_quarters(p[2], p[3]), matrix.scale_type);
    const Ints at = add_ints(_mm512_slli_epi32(row, 3), block);
    out[0] = _mm512_permutex2var_ps(low, at, high);
    out[1] = _mm512_permutex2var_ps(low, add_ints(at, ints(4)), high);
  }
}

template <std::size_t bits, class Scale>
  requires(!std::is_same_v<Scale, ScaleF32>)
struct FourRows<MlxAffine<bits, Scale>> {
  TERN_WORD static void scales(const Row* rows, const Matrix& matrix, GroupScales& s) {
    const std::byte* const d[4] = {rows[0].scales, rows[1].scales, rows[2].scales, rows[3].scales};
    const std::byte* const m[4] = {rows[0].biases, rows[1].biases, rows[2].biases, rows[3].biases};
    plane_rows(d, matrix, s.d[0]);
    plane_rows(m, matrix, s.m[0]);
  }
};

template <>
struct FourRows<MlxMxfp4> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const Ints all = _mm512_castsi256_si512(_mm256_set_m128i(
        u64_pair(rows[2].scales, rows[3].scales), u64_pair(rows[0].scales, rows[1].scales)));
    s.d[0][0] = half(spread_bytes<0, 8, 1>(all));
    s.d[0][1] = half(spread_bytes<4, 8, 1>(all));
  }

 private:
  TERN_WORD static Lanes half(Ints e) {
    return as_floats(bit_or(half_e8m0(e), where_equal(e, ints(255), 0x7fc00000)));
  }
};

template <>
struct FourRows<MlxNvfp4> {
  TERN_WORD static void scales(const Row* rows, const Matrix&, GroupScales& s) {
    const Ints all = _mm512_inserti64x4(
        _mm512_castsi256_si512(fixed_avx2::two_quarters(rows[0].scales, rows[1].scales)),
        fixed_avx2::two_quarters(rows[2].scales, rows[3].scales), 1);
    s.d[0][0] = half(spread_bytes<0, 16, 2>(all));
    s.d[1][0] = half(spread_bytes<1, 16, 2>(all));
    s.d[0][1] = half(spread_bytes<8, 16, 2>(all));
    s.d[1][1] = half(spread_bytes<9, 16, 2>(all));
  }

 private:
  /// Half of an E4M3 number: its bits make a float that is 2^-120 of it.
  TERN_WORD static Lanes half(Ints q) {
    const Ints magnitude = bit_and(q, ints(0x7f));
    const Ints sign = shift_left(bit_and(q, ints(0x80)), 24);
    const Ints nan = where_equal(magnitude, ints(0x7f), 0x7fc00000);
    const Lanes value =
        mul(as_floats(bit_or(shift_left(magnitude, 20), sign)), broadcast(0x1p119f));
    return as_floats(bit_or(_mm512_castps_si512(value), nan));
  }
};

#undef TERN_WORD
