// 64 bytes at a time on AVX-512 with VNNI and VBMI: the words in which fixed_formats.inc.h and
// fixed_dot.inc.h are written, besides those of quant/lanes_avx512.h.
#pragma once
#if defined(__x86_64__)

#include <array>
#include <cstring>

#include "kernels/fixed_words_avx2.h"
#include "quant/lanes_avx512.h"

#define TERN_FIXED_AVX512 \
  __attribute__((         \
      target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi,avx2,fma,f16c,bmi,bmi2")))
#define TERN_WORD TERN_FIXED_AVX512 __attribute__((always_inline)) inline

namespace tern::kernels::fixed_avx512 {
using namespace quant::avx512;

using fixed_avx2::bf16_bits_to_floats, fixed_avx2::Bytes, fixed_avx2::bytes_minus;
using fixed_avx2::bytes_to_floats, fixed_avx2::each_four_times, fixed_avx2::each_twice;
using fixed_avx2::Eight, fixed_avx2::even_then_odd, fixed_avx2::even_u16;
using fixed_avx2::f16_bits_to_floats, fixed_avx2::first_bytes, fixed_avx2::half_e8m0;
using fixed_avx2::interleaved, fixed_avx2::last_bytes, fixed_avx2::load_eight;
using fixed_avx2::minus_all, fixed_avx2::nibbles_of;
using fixed_avx2::odd_u16, fixed_avx2::scale_all, fixed_avx2::signed_to_floats;
using fixed_avx2::sixteen_bytes, fixed_avx2::spread_nibbles, fixed_avx2::spread_pairs;

TERN_WORD Ints load_ints(const void* p) {
  return _mm512_loadu_si512(p);
}
TERN_WORD void store_ints(void* p, Ints v) {
  _mm512_storeu_si512(p, v);
}
TERN_WORD Ints words(int v) {
  return _mm512_set1_epi16(static_cast<short>(v));
}
TERN_WORD Ints bytes(int v) {
  return _mm512_set1_epi8(static_cast<char>(v));
}
TERN_WORD Ints zero_ints() {
  return _mm512_setzero_si512();
}
template <int n>
TERN_WORD Ints words_right(Ints v) {
  return n == 0 ? v : _mm512_srli_epi16(v, n);
}
template <int n>
TERN_WORD Ints words_left(Ints v) {
  return n == 0 ? v : _mm512_slli_epi16(v, n);
}
TERN_WORD Ints low_nibbles(Ints v) {
  return bit_and(v, bytes(15));
}
TERN_WORD Ints high_nibbles(Ints v) {
  return bit_and(words_right<4>(v), bytes(15));
}
template <int n>
TERN_WORD Ints ints_left(Ints v) {
  return _mm512_slli_epi32(v, n);
}
TERN_WORD Ints subtract_words(Ints a, Ints b) {
  return _mm512_sub_epi16(a, b);
}
TERN_WORD Ints bit_xor(Ints a, Ints b) {
  return _mm512_xor_si512(a, b);
}
/// Each 16 bytes as two 64-bit numbers, shifted by n0 to n3.
TERN_WORD Ints quarters_right(Ints v, int n0, int n1, int n2, int n3) {
  return _mm512_srlv_epi64(v, _mm512_setr_epi64(n0, n0, n1, n1, n2, n2, n3, n3));
}
/// Looks up bytes below 16 in the table of their 16 bytes.
TERN_WORD Ints lookup_bytes(Ints table, Ints index) {
  return _mm512_shuffle_epi8(table, index);
}
TERN_WORD Ints four_times(const void* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
/// Looks up bytes below 32 in 32 bytes at `table`.
TERN_WORD Ints lookup_32(const std::uint8_t* table, Ints index) {
  const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table));
  return _mm512_permutexvar_epi8(index, _mm512_castsi256_si512(v));
}
/// Bytes of two vectors in turn, within each 16: the first 8 of each, or the last.
TERN_WORD Ints zip_low(Ints a, Ints b) {
  return _mm512_unpacklo_epi8(a, b);
}
TERN_WORD Ints zip_high(Ints a, Ints b) {
  return _mm512_unpackhi_epi8(a, b);
}

/// Bytes of words below 256: within each 16, those of a and then those of b.
TERN_WORD Ints narrow_words(Ints a, Ints b) {
  return _mm512_packus_epi16(a, b);
}
TERN_WORD Ints subtract_bytes(Ints a, Ints b) {
  return _mm512_sub_epi8(a, b);
}
/// Quarters of 16 bytes of two vectors in turn: the first two of each, and the last two.
TERN_WORD void zip_quarters(Ints a, Ints b, Ints* out) {
  const Ints first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  out[0] = _mm512_permutex2var_epi64(a, first, b);
  out[1] = _mm512_permutex2var_epi64(a, _mm512_add_epi64(first, _mm512_set1_epi64(4)), b);
}
TERN_WORD void store_halves(std::uint8_t* low, std::uint8_t* high, Ints v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(low), _mm512_castsi512_si256(v));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(high), _mm512_extracti64x4_epi64(v, 1));
}

/// Byte i of the result is byte at[i] of 64 at p, or of `last` from 64 on.
template <std::size_t stride, std::size_t first, std::size_t size>
constexpr std::array<std::uint8_t, 64> kQuarters = [] {
  std::array<std::uint8_t, 64> at{};
  for (std::size_t i = 0; i < 64; ++i) {
    const std::size_t byte = i / 16 * stride + first + i % 16;
    at[i] = static_cast<std::uint8_t>(byte < 64 ? byte : 64 + byte - (size - 64));
  }
  return at;
}();
/// 16 bytes each from p, p + stride, p + 2 stride and p + 3 stride; reads nothing between the last
/// of them and p + 3 stride + 16.
template <std::size_t stride>
TERN_WORD Ints quarters(const std::byte* p) {
  if constexpr (stride == 16) {
    return load_ints(p);
  } else if constexpr (3 * stride + 16 <= 128) {
    constexpr std::size_t kSize = 3 * stride + 16;
    const Ints low = load_ints(p), high = load_ints(p + kSize - 64);
    return _mm512_permutex2var_epi8(low, load_ints(kQuarters<stride, 0, kSize>.data()), high);
  } else {
    const auto at = [](const std::byte* q) TERN_FIXED_AVX512 {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(q));
    };
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(at(p)), at(p + stride), 1);
    const __m256i high =
        _mm256_inserti128_si256(_mm256_castsi128_si256(at(p + 2 * stride)), at(p + 3 * stride), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  }
}

/// 16 bytes from a, from b, and both again.
TERN_WORD Ints two_twice(const std::byte* a, const std::byte* b) {
  const __m256i two = fixed_avx2::two_quarters(a, b);
  return _mm512_inserti64x4(_mm512_castsi256_si512(two), two, 1);
}

/// `value` in the bytes whose bit is set, else 0.
TERN_WORD Ints where_bits(std::uint64_t bits, int value) {
  return _mm512_maskz_set1_epi8(bits, static_cast<char>(value));
}

/// For 128 codes of a little-endian bit stream, from 16 * bits bytes: the octets 2 h and 2 h + 1 of
/// each 32, a byte for each code.
template <std::size_t bits>
constexpr std::array<std::array<std::uint8_t, 64>, 2> kOctets = [] {
  std::array<std::array<std::uint8_t, 64>, 2> at{};
  for (std::size_t h = 0; h < 2; ++h)
    for (std::size_t i = 0; i < 64; ++i) {
      const std::size_t octet = 4 * (i / 16) + 2 * h + i / 8 % 2;
      const std::size_t byte = std::min(octet * bits + std::min(i % 8, bits - 1), 16 * bits - 1);
      at[h][i] = static_cast<std::uint8_t>(byte < 64 ? byte : 64 + byte - (16 * bits - 64));
    }
  return at;
}();
template <std::size_t bits>
TERN_WORD void octets(const std::byte* p, Ints* halves) {
  constexpr std::uint64_t b = bits;
  const Ints shifts = _mm512_set1_epi64(static_cast<long long>(
      b << 8 | 2 * b << 16 | 3 * b << 24 | 4 * b << 32 | 5 * b << 40 | 6 * b << 48 | 7 * b << 56));
  for (std::size_t h = 0; h < 2; ++h) {
    const Ints at = load_ints(kOctets<bits>[h].data());
    Ints spread;
    if constexpr (16 * bits < 64) {
      const __mmask64 inside = (std::uint64_t{1} << (16 * bits)) - 1;
      spread = _mm512_permutexvar_epi8(at, _mm512_maskz_loadu_epi8(inside, p));
    } else {
      spread = _mm512_permutex2var_epi8(load_ints(p), at, load_ints(p + 16 * bits - 64));
    }
    halves[h] =
        _mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, spread), bytes((1 << bits) - 1));
  }
}

/// 32 bytes, each 8 of them twice, the second time shifted right by 2 bits.
TERN_WORD Ints crumbs(const std::byte* p) {
  const Ints at = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
  const Ints twice = _mm512_permutexvar_epi64(at, _mm512_castsi256_si512(load32(p)));
  return _mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 2, 0, 2, 0, 2, 0, 2));
}

/// Sums of pairs of words a b
TERN_WORD Ints first_dot(Ints a, Ints b) {
  return _mm512_dpwssd_epi32(zero_ints(), a, b);
}
/// sum += pairs of words a b
TERN_WORD Ints dot(Ints sum, Ints a, Ints b) {
  return _mm512_dpwssd_epi32(sum, a, b);
}
TERN_WORD Ints add_ints(Ints a, Ints b) {
  return _mm512_add_epi32(a, b);
}
TERN_WORD Ints times(Ints a, int b) {
  return _mm512_mullo_epi32(a, ints(b));
}
/// Lane 4 i + r: the sum of lanes 4 i to 4 i + 3 of v[r].
TERN_WORD Ints sum_quarters(const Ints* v) {
  const Ints low = add_ints(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const Ints high = add_ints(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  return add_ints(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
}
/// out[u], lane 4 i + r: element 4 u + i of v[r].
TERN_WORD void interleave(const Eight* v, Lanes* out) {
  const Lanes low = _mm512_insertf32x8(_mm512_castps256_ps512(v[0]), v[1], 1);
  const Lanes high = _mm512_insertf32x8(_mm512_castps256_ps512(v[2]), v[3], 1);
  const Ints at = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
  out[0] = _mm512_permutex2var_ps(low, at, high);
  out[1] = _mm512_permutex2var_ps(low, add_ints(at, ints(4)), high);
}
/// The first n lanes, and zeros.
TERN_WORD Lanes first_lanes(Lanes v, std::size_t n) {
  return _mm512_maskz_mov_ps(static_cast<__mmask16>((1u << n) - 1), v);
}
/// Four sums: lanes r, r + 4, r + 8 and r + 12.
TERN_WORD void store_strides(float* sums, Lanes v) {
  const __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1)));
}

/// f16 numbers at p, p + stride, ... p + 7 stride.
template <std::size_t stride>
TERN_WORD Eight f16_column(const std::byte* p) {
  if constexpr (stride != 18) return fixed_avx2::f16_column<stride>(p);
  const Ints at = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 36, 45, 54, 63));
  const Ints column = _mm512_permutex2var_epi16(load_ints(p), at, load_ints(p + 64));
  return _mm256_cvtph_ps(_mm512_castsi512_si128(column));
}
/// Bytes at p, p + stride, ... p + 7 stride, in the low half.
template <std::size_t stride>
TERN_WORD __m128i byte_column(const std::byte* p) {
  static_assert(stride == 17);
  const Ints at = _mm512_castsi128_si512(
      _mm_setr_epi8(0, 17, 34, 51, 68, 85, 102, 119, 0, 0, 0, 0, 0, 0, 0, 0));
  return _mm512_castsi512_si128(_mm512_permutex2var_epi8(load_ints(p), at, load_ints(p + 64)));
}

}  // namespace tern::kernels::fixed_avx512
#undef TERN_WORD
#endif
