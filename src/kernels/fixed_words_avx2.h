// The words of fixed_words_avx512.h on AVX2: 64 bytes are two registers.
#pragma once
#if defined(__x86_64__)

#include <algorithm>
#include <cstring>

#include "quant/lanes_avx2.h"

#define TERN_FIXED_AVX2 __attribute__((target("avx2,fma,f16c,bmi,bmi2")))
#define TERN_WORD TERN_FIXED_AVX2 __attribute__((always_inline)) inline

namespace tern::kernels::fixed_avx2 {
using namespace quant::avx2;

using Eight = __m256;

TERN_WORD __m256i load_half(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
TERN_WORD Ints load_ints(const void* p) {
  return {load_half(p), load_half(static_cast<const std::byte*>(p) + 32)};
}
TERN_WORD void store_ints(void* p, Ints v) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), v.low);
  _mm256_storeu_si256(static_cast<__m256i*>(p) + 1, v.high);
}
TERN_WORD Ints both(__m256i v) {
  return {v, v};
}
TERN_WORD Ints words(int v) {
  return both(_mm256_set1_epi16(static_cast<short>(v)));
}
TERN_WORD Ints bytes(int v) {
  return both(_mm256_set1_epi8(static_cast<char>(v)));
}
TERN_WORD Ints zero_ints() {
  return both(_mm256_setzero_si256());
}
template <int n>
TERN_WORD Ints words_right(Ints v) {
  return {_mm256_srli_epi16(v.low, n), _mm256_srli_epi16(v.high, n)};
}
template <int n>
TERN_WORD Ints words_left(Ints v) {
  return {_mm256_slli_epi16(v.low, n), _mm256_slli_epi16(v.high, n)};
}
TERN_WORD Ints low_nibbles(Ints v) {
  return bit_and(v, bytes(15));
}
TERN_WORD Ints high_nibbles(Ints v) {
  return bit_and(words_right<4>(v), bytes(15));
}
template <int n>
TERN_WORD Ints ints_left(Ints v) {
  return {_mm256_slli_epi32(v.low, n), _mm256_slli_epi32(v.high, n)};
}
TERN_WORD Ints subtract_words(Ints a, Ints b) {
  return {_mm256_sub_epi16(a.low, b.low), _mm256_sub_epi16(a.high, b.high)};
}
TERN_WORD Ints bit_xor(Ints a, Ints b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
TERN_WORD Ints quarters_right(Ints v, int n0, int n1, int n2, int n3) {
  return {_mm256_srlv_epi64(v.low, _mm256_setr_epi64x(n0, n0, n1, n1)),
          _mm256_srlv_epi64(v.high, _mm256_setr_epi64x(n2, n2, n3, n3))};
}
TERN_WORD Ints lookup_bytes(Ints table, Ints index) {
  return {_mm256_shuffle_epi8(table.low, index.low), _mm256_shuffle_epi8(table.high, index.high)};
}
TERN_WORD __m256i lookup_32(__m256i first, __m256i last, __m256i index) {
  // A byte with its top bit set gives 0: those from 16 on in `first`, those below in `last`.
  const __m256i low = _mm256_shuffle_epi8(first, _mm256_add_epi8(index, _mm256_set1_epi8(0x70)));
  const __m256i high = _mm256_shuffle_epi8(last, _mm256_sub_epi8(index, _mm256_set1_epi8(16)));
  return _mm256_or_si256(low, high);
}
TERN_WORD Ints four_times(const void* p) {
  return both(_mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p))));
}
TERN_WORD Ints lookup_32(const std::uint8_t* table, Ints index) {
  const __m256i first = four_times(table).low, last = four_times(table + 16).low;
  return {lookup_32(first, last, index.low), lookup_32(first, last, index.high)};
}
TERN_WORD Ints zip_low(Ints a, Ints b) {
  return {_mm256_unpacklo_epi8(a.low, b.low), _mm256_unpacklo_epi8(a.high, b.high)};
}
TERN_WORD Ints zip_high(Ints a, Ints b) {
  return {_mm256_unpackhi_epi8(a.low, b.low), _mm256_unpackhi_epi8(a.high, b.high)};
}

/// Bytes of words below 256: within each 16, those of a and then those of b.
TERN_WORD Ints narrow_words(Ints a, Ints b) {
  return {_mm256_packus_epi16(a.low, b.low), _mm256_packus_epi16(a.high, b.high)};
}
TERN_WORD Ints subtract_bytes(Ints a, Ints b) {
  return {_mm256_sub_epi8(a.low, b.low), _mm256_sub_epi8(a.high, b.high)};
}
TERN_WORD void zip_quarters(Ints a, Ints b, Ints* out) {
  out[0] = {_mm256_permute2x128_si256(a.low, b.low, 0x20),
            _mm256_permute2x128_si256(a.low, b.low, 0x31)};
  out[1] = {_mm256_permute2x128_si256(a.high, b.high, 0x20),
            _mm256_permute2x128_si256(a.high, b.high, 0x31)};
}
TERN_WORD void store_halves(std::uint8_t* low, std::uint8_t* high, Ints v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(low), v.low);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(high), v.high);
}

TERN_WORD __m256i two_quarters(const std::byte* a, const std::byte* b) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(a)), load16(b), 1);
}
/// 16 bytes from a, from b, and both again.
TERN_WORD Ints two_twice(const std::byte* a, const std::byte* b) {
  return both(two_quarters(a, b));
}
template <std::size_t stride>
TERN_WORD Ints quarters(const std::byte* p) {
  return {two_quarters(p, p + stride), two_quarters(p + 2 * stride, p + 3 * stride)};
}

TERN_WORD __m256i where_bits32(std::uint32_t bits, __m256i value) {
  const __m256i byte =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), byte);
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit), value);
}
TERN_WORD Ints where_bits(std::uint64_t bits, int value) {
  const __m256i v = _mm256_set1_epi8(static_cast<char>(value));
  return {where_bits32(static_cast<std::uint32_t>(bits), v),
          where_bits32(static_cast<std::uint32_t>(bits >> 32), v)};
}

/// How 16 codes of a bit stream become words: bytes `at` of it (a byte that is not there is 0) hold
/// code i, `factor` moves it to the top of its word. Two blocks, one in each half of a register;
/// the bytes of a block start at `first`.
struct StreamWords {
  std::uint8_t at[2][32];
  std::uint16_t factor[2][16];
};
template <std::size_t bits>
constexpr StreamWords stream_words(std::size_t first, std::size_t first_of_last) {
  StreamWords words{};
  for (std::size_t half = 0; half < 2; ++half)
    for (std::size_t i = 0; i < 16; ++i) {
      const std::size_t bit = (8 * half + i % 8) * bits, size = 2 * bits;
      const std::size_t begin = i < 8 ? first : first_of_last;
      const std::size_t byte = bit / 8, next = std::min(byte + 1, size - 1);
      words.at[half][2 * i] = static_cast<std::uint8_t>(begin + byte);
      words.at[half][2 * i + 1] = static_cast<std::uint8_t>(begin + next);
      words.factor[half][i] = static_cast<std::uint16_t>(1u << (16 - bits - bit % 8));
    }
  return words;
}
/// Codes of 16 values of two blocks, a byte each.
template <std::size_t bits>
TERN_WORD __m256i stream16(__m256i v, const StreamWords& to) {
  __m256i words[2];
  for (std::size_t half = 0; half < 2; ++half)
    words[half] =
        _mm256_srli_epi16(_mm256_mullo_epi16(_mm256_shuffle_epi8(v, load_half(to.at[half])),
                                             load_half(to.factor[half])),
                          16 - bits);
  return _mm256_packus_epi16(words[0], words[1]);
}
template <std::size_t bits>
TERN_WORD void octets(const std::byte* p, Ints* halves) {
  constexpr std::size_t kBlock = 4 * bits;
  for (std::size_t h = 0; h < 2; ++h) {
    // Sixteen bytes that hold those of a half, and end no later than the block; blocks of 12 bytes
    // begin before them, except that the last one ends with them.
    constexpr bool kShort = kBlock < 16;
    static constexpr StreamWords kWhole[2] = {
        stream_words<bits>(0, 0),
        stream_words<bits>(kShort ? 2 * bits : 16 - 2 * bits, kShort ? 2 * bits : 16 - 2 * bits)};
    static constexpr StreamWords kEnd[2] = {stream_words<bits>(0, 4),
                                            stream_words<bits>(2 * bits, 4 + 2 * bits)};
    const std::size_t at = kShort || h == 0 ? 0 : kBlock - 16;
    const __m256i low = two_quarters(p + at, p + at + kBlock);
    const __m256i high = two_quarters(p + at + 2 * kBlock, p + at + 3 * kBlock - (kShort ? 4 : 0));
    halves[h] = {stream16<bits>(low, kWhole[h]),
                 stream16<bits>(high, kShort ? kEnd[h] : kWhole[h])};
  }
}

TERN_WORD __m256i crumbs16(const std::byte* p) {
  const __m256i twice = _mm256_permute4x64_epi64(_mm256_castsi128_si256(load16(p)), 0x50);
  return _mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 2, 0, 2));
}
TERN_WORD Ints crumbs(const std::byte* p) {
  return {crumbs16(p), crumbs16(p + 16)};
}

TERN_WORD Ints add_ints(Ints a, Ints b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
TERN_WORD Ints first_dot(Ints a, Ints b) {
  return {_mm256_madd_epi16(a.low, b.low), _mm256_madd_epi16(a.high, b.high)};
}
TERN_WORD Ints dot(Ints sum, Ints a, Ints b) {
  sum = add_ints(sum, first_dot(a, b));
  // Here, not when all products of a tile are there: g++ 12 would keep them on the stack till then.
  asm volatile("" : "+x"(sum.low), "+x"(sum.high));
  return sum;
}
TERN_WORD Ints times(Ints a, int b) {
  const __m256i v = _mm256_set1_epi32(b);
  return {_mm256_mullo_epi32(a.low, v), _mm256_mullo_epi32(a.high, v)};
}
TERN_WORD Ints zip_ints(Ints a, Ints b) {
  return add_ints({_mm256_unpacklo_epi32(a.low, b.low), _mm256_unpacklo_epi32(a.high, b.high)},
                  {_mm256_unpackhi_epi32(a.low, b.low), _mm256_unpackhi_epi32(a.high, b.high)});
}
TERN_WORD Ints sum_quarters(const Ints* v) {
  const Ints a = zip_ints(v[0], v[1]), b = zip_ints(v[2], v[3]);
  return add_ints({_mm256_unpacklo_epi64(a.low, b.low), _mm256_unpacklo_epi64(a.high, b.high)},
                  {_mm256_unpackhi_epi64(a.low, b.low), _mm256_unpackhi_epi64(a.high, b.high)});
}
TERN_WORD __m256 zip_pairs(__m256 a, __m256 b, bool high) {
  const __m256d x = _mm256_castps_pd(a), y = _mm256_castps_pd(b);
  return _mm256_castpd_ps(high ? _mm256_unpackhi_pd(x, y) : _mm256_unpacklo_pd(x, y));
}
TERN_WORD void interleave(const Eight* v, Lanes* out) {
  const __m256 a = _mm256_unpacklo_ps(v[0], v[1]), b = _mm256_unpackhi_ps(v[0], v[1]);
  const __m256 c = _mm256_unpacklo_ps(v[2], v[3]), d = _mm256_unpackhi_ps(v[2], v[3]);
  const __m256 c0 = zip_pairs(a, c, false),
               c1 = zip_pairs(a, c, true);  // elements 0 and 4, 1 and 5
  const __m256 c2 = zip_pairs(b, d, false), c3 = zip_pairs(b, d, true);
  out[0] = {_mm256_permute2f128_ps(c0, c1, 0x20), _mm256_permute2f128_ps(c2, c3, 0x20)};
  out[1] = {_mm256_permute2f128_ps(c0, c1, 0x31), _mm256_permute2f128_ps(c2, c3, 0x31)};
}
TERN_WORD Lanes first_lanes(Lanes v, std::size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i count = _mm256_set1_epi32(static_cast<int>(n));
  const __m256i low = _mm256_cmpgt_epi32(count, lane);
  const __m256i high = _mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8)));
  return {_mm256_and_ps(v.low, _mm256_castsi256_ps(low)),
          _mm256_and_ps(v.high, _mm256_castsi256_ps(high))};
}
TERN_WORD void store_strides(float* sums, Lanes v) {
  const __m256 v8 = _mm256_add_ps(v.low, v.high);
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1)));
}

/// f16 numbers at p, p + stride, ... p + 7 stride.
template <std::size_t stride>
TERN_WORD Eight f16_column(const std::byte* p) {
  std::uint16_t column[8];
  for (std::size_t i = 0; i < 8; ++i) std::memcpy(column + i, p + i * stride, 2);
  return _mm256_cvtph_ps(_mm_setr_epi16(
      static_cast<short>(column[0]), static_cast<short>(column[1]), static_cast<short>(column[2]),
      static_cast<short>(column[3]), static_cast<short>(column[4]), static_cast<short>(column[5]),
      static_cast<short>(column[6]), static_cast<short>(column[7])));
}
/// Bytes at p, p + stride, ... p + 7 stride, in the low half.
template <std::size_t stride>
TERN_WORD __m128i byte_column(const std::byte* p) {
  std::uint64_t column = 0;
  for (std::size_t i = 0; i < 8; ++i)
    column |= std::to_integer<std::uint64_t>(p[i * stride]) << (8 * i);
  return _mm_cvtsi64_si128(static_cast<long long>(column));
}

// Eight floats, one for each block of two units, and what they are made of.

using Bytes = __m128i;

TERN_WORD Eight load_eight(const float* p) {
  return _mm256_loadu_ps(p);
}
TERN_WORD Bytes sixteen_bytes(std::uint64_t low, std::uint64_t high) {
  return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}
/// Eight bytes, or four; the others are zero.
TERN_WORD Bytes first_bytes(std::uint64_t v) {
  return _mm_cvtsi64_si128(static_cast<long long>(v));
}
TERN_WORD Bytes first_bytes(std::uint32_t v) {
  return _mm_cvtsi32_si128(static_cast<int>(v));
}
TERN_WORD Bytes bytes_minus(Bytes v, int n) {
  return _mm_sub_epi8(v, _mm_set1_epi8(static_cast<char>(n)));
}
TERN_WORD void nibbles_of(Bytes v, Bytes& low, Bytes& high) {
  low = _mm_and_si128(v, _mm_set1_epi8(15));
  high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15));
}
TERN_WORD Bytes even_then_odd(Bytes v) {
  const Bytes at = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
  return _mm_shuffle_epi8(v, at);
}
TERN_WORD Bytes last_bytes(Bytes v) {
  return _mm_unpackhi_epi64(v, v);
}
/// Of the first eight bytes.
TERN_WORD Eight bytes_to_floats(Bytes v) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v));
}
TERN_WORD Eight bytes_to_floats(std::uint64_t v) {
  return bytes_to_floats(first_bytes(v));
}
TERN_WORD Eight signed_to_floats(Bytes v) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v));
}
TERN_WORD Eight f16_bits_to_floats(Bytes v) {
  return _mm256_cvtph_ps(v);
}
TERN_WORD Eight bf16_bits_to_floats(Bytes v) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}
TERN_WORD Eight scale_all(float d, Eight v) {
  return _mm256_mul_ps(_mm256_set1_ps(d), v);
}
TERN_WORD Eight minus_all(Eight v, float n) {
  return _mm256_sub_ps(v, _mm256_set1_ps(n));
}
/// Elements 0, 2, 4, 6, 1, 3, 5, 7.
TERN_WORD Eight interleaved(Eight v) {
  return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}
/// The first four elements, or the first two.
TERN_WORD Eight each_twice(Eight v) {
  return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
TERN_WORD Eight each_four_times(Eight v) {
  return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}
/// 2^(e - 128) for the first eight bytes e.
TERN_WORD Eight half_e8m0(Bytes v) {
  const __m256i e = _mm256_cvtepu8_epi32(v), one = _mm256_set1_epi32(1);
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
  const __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(small, normal, _mm256_cmpgt_epi32(e, one)));
}

/// Bits 0-15 and 32-47, next to each other; and the others.
TERN_WORD std::uint64_t even_u16(std::uint64_t v) {
  return _pext_u64(v, 0x0000ffff0000ffff);
}
TERN_WORD std::uint64_t odd_u16(std::uint64_t v) {
  return _pext_u64(v, 0xffff0000ffff0000);
}
/// Eight nibbles to a byte each; and eight pairs of bits, to bits 4 and 5.
TERN_WORD std::uint64_t spread_nibbles(std::uint64_t v) {
  return _pdep_u64(v, 0x0f0f0f0f0f0f0f0f);
}
TERN_WORD std::uint64_t spread_pairs(std::uint64_t v) {
  return _pdep_u64(v, 0x3030303030303030);
}

}  // namespace tern::kernels::fixed_avx2
#undef TERN_WORD
#endif
