// Sixteen lanes at a time on AVX-512: the words in which fast_decoders.inc.h and the dot products
// of kernels are written. lanes_avx2.h has the same words.
#pragma once
#if defined(__x86_64__)

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quant/intrinsics.h"

#define TERN_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
#define TERN_WORD TERN_AVX512 __attribute__((always_inline)) inline

namespace tern::quant::avx512 {

using Lanes = __m512;  ///< 16 floats
using Ints = __m512i;  ///< 16 x 32 bits
using Table = __m512;  ///< 16 floats to look up

TERN_WORD Lanes load(const float* p) {
  return _mm512_loadu_ps(p);
}
/// The first n < 16 lanes; the others are zero, and their memory is not touched.
TERN_WORD Lanes load_first(const float* p, std::size_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
TERN_WORD void store(float* p, Lanes v) {
  _mm512_storeu_ps(p, v);
}
TERN_WORD Lanes broadcast(float v) {
  return _mm512_set1_ps(v);
}
TERN_WORD Lanes mul(Lanes a, Lanes b) {
  return _mm512_mul_ps(a, b);
}
TERN_WORD Lanes add(Lanes a, Lanes b) {
  return _mm512_add_ps(a, b);
}
TERN_WORD Lanes sub(Lanes a, Lanes b) {
  return _mm512_sub_ps(a, b);
}
/// a b + c, rounded once.
TERN_WORD Lanes fma(Lanes a, Lanes b, Lanes c) {
  return _mm512_fmadd_ps(a, b, c);
}
/// Lanes added as a tree: i and i + 8, then i and i + 4, i + 2, i + 1.
TERN_WORD float sum(Lanes v) {
  const __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
  const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
  return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/// Lane i and lane i xor h change places, for h = 1, 2, 4, 8.
template <int h>
TERN_WORD Lanes swap_lanes(Lanes v) {
  if constexpr (h == 1) return _mm512_permute_ps(v, 0xb1);
  if constexpr (h == 2) return _mm512_permute_ps(v, 0x4e);
  if constexpr (h == 4) return _mm512_shuffle_f32x4(v, v, 0xb1);
  if constexpr (h == 8) return _mm512_shuffle_f32x4(v, v, 0x4e);
}
/// -v in the lanes i with i & h.
template <int h>
TERN_WORD Lanes negate_upper(Lanes v) {
  constexpr __mmask16 upper = h == 1 ? 0xaaaa : h == 2 ? 0xcccc : h == 4 ? 0xf0f0 : 0xff00;
  return _mm512_mask_xor_ps(v, upper, v, _mm512_set1_ps(-0.0f));
}

TERN_WORD Ints ints(int v) {
  return _mm512_set1_epi32(v);
}
TERN_WORD Ints bit_and(Ints a, Ints b) {
  return _mm512_and_si512(a, b);
}
TERN_WORD Ints bit_or(Ints a, Ints b) {
  return _mm512_or_si512(a, b);
}
TERN_WORD Ints add(Ints a, Ints b) {
  return _mm512_add_epi32(a, b);
}
TERN_WORD Ints subtract(Ints a, Ints b) {
  return _mm512_sub_epi32(a, b);
}
TERN_WORD Ints shift_left(Ints v, int n) {
  return _mm512_sllv_epi32(v, _mm512_set1_epi32(n));
}
TERN_WORD Ints shift_right(Ints v, int n) {
  return _mm512_srlv_epi32(v, _mm512_set1_epi32(n));
}
/// `value` in the lanes where a equals b, else 0.
TERN_WORD Ints where_equal(Ints a, Ints b, int value) {
  return _mm512_maskz_set1_epi32(_mm512_cmpeq_epi32_mask(a, b), value);
}
/// `value` in the lanes where a > b, else 0.
TERN_WORD Ints where_greater(Lanes a, Lanes b, int value) {
  return _mm512_maskz_set1_epi32(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), value);
}
/// The low byte of each lane.
TERN_WORD void store_bytes(std::uint8_t* p, Ints v) {
  const __m128i bytes = _mm512_cvtepi32_epi8(v);
  std::memcpy(p, &bytes, sizeof bytes);
}
/// `value` in the lanes whose bit is set, else 0.
TERN_WORD Ints where_bit(std::uint32_t bits, int value) {
  return _mm512_maskz_set1_epi32(static_cast<__mmask16>(bits), value);
}
TERN_WORD Lanes to_floats(Ints v) {
  return _mm512_cvtepi32_ps(v);
}
TERN_WORD Lanes as_floats(Ints v) {
  return _mm512_castsi512_ps(v);
}

TERN_WORD __m128i load16(const std::byte* p) {
  __m128i v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
TERN_WORD __m256i load32(const std::byte* p) {
  __m256i v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
/// 16 bytes, one to a lane.
TERN_WORD Ints widen_u8(const std::byte* p) {
  return _mm512_cvtepu8_epi32(load16(p));
}
TERN_WORD Ints widen_i8(const std::byte* p) {
  return _mm512_cvtepi8_epi32(load16(p));
}
/// 32 bytes, two to a lane.
TERN_WORD Ints widen_u16(const std::byte* p) {
  return _mm512_cvtepu16_epi32(load32(p));
}
TERN_WORD Lanes f16_to_floats(const std::byte* p) {
  return _mm512_cvtph_ps(load32(p));
}
/// 16 E4M3 numbers, each divided by 256: their exponents are biased by 7, those of f16 by 15. As
/// floats the smallest would be subnormal, which multiplications take long for.
TERN_WORD Lanes e4m3_over_256(const std::byte* p) {
  const __m256i moved = _mm256_slli_epi16(_mm256_cvtepi8_epi16(load16(p)), 7);
  const __m256i magnitude = _mm256_set1_epi16(0x3f80);
  const __m256i nan = _mm256_cmpeq_epi16(_mm256_and_si256(moved, magnitude), magnitude);
  const __m256i number = _mm256_set1_epi16(static_cast<short>(0xbf80));
  return _mm512_cvtph_ps(_mm256_or_si256(_mm256_and_si256(moved, number), nan));
}
/// A binary16 number in every lane.
TERN_WORD Lanes broadcast_f16(const std::byte* p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof bits);
  return _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
}

/// table[index mod 16]
TERN_WORD Lanes lookup(Table table, Ints index) {
  return _mm512_permutexvar_ps(index, table);
}

/// The same of a table in two halves: index mod 32.
TERN_WORD Lanes lookup(Table low, Table high, Ints index) {
  return _mm512_permutex2var_ps(low, index, high);
}

/// Sixteen codes of a little-endian bit stream, from 2 * bits bytes. What is above the low `bits`
/// bits of a lane belongs to other codes.
template <int bits>
TERN_WORD Ints unpack(const std::byte* p) {
  const Ints lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  if constexpr (bits == 8) {
    return widen_u8(p);
  } else if constexpr (bits == 4) {
    int low = 0, high = 0;
    std::memcpy(&low, p, sizeof low);
    std::memcpy(&high, p + 4, sizeof high);
    const Ints words = _mm512_mask_set1_epi32(_mm512_set1_epi32(low), 0xff00, high);
    const Ints in_word = _mm512_and_si512(lane, _mm512_set1_epi32(7));
    return _mm512_srlv_epi32(words, _mm512_slli_epi32(in_word, 2));
  } else if constexpr (bits == 2) {
    int word = 0;
    std::memcpy(&word, p, sizeof word);
    return _mm512_srlv_epi32(_mm512_set1_epi32(word), _mm512_slli_epi32(lane, 1));
  } else {
    const __m128i loaded = _mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << (2 * bits)) - 1), p);
    const Ints bit = _mm512_mullo_epi32(lane, _mm512_set1_epi32(bits));
    const Ints byte = _mm512_srli_epi32(bit, 3);  // a code lies in this byte and the next
    const Ints pair = _mm512_or_si512(
        _mm512_or_si512(byte, _mm512_slli_epi32(_mm512_add_epi32(byte, _mm512_set1_epi32(1)), 8)),
        _mm512_set1_epi32(static_cast<int>(0x80800000)));
    const Ints words = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(loaded), pair);
    return _mm512_srlv_epi32(words, _mm512_and_si512(bit, _mm512_set1_epi32(7)));
  }
}

}  // namespace tern::quant::avx512
#undef TERN_WORD
#endif
