// The words of lanes_avx512.h on AVX2: sixteen lanes are two registers.
#pragma once
#if defined(__x86_64__)

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quant/intrinsics.h"

#define TERN_AVX2 __attribute__((target("avx2,fma,f16c")))
#define TERN_WORD TERN_AVX2 __attribute__((always_inline)) inline

namespace tern::quant::avx2 {

struct Lanes {
  __m256 low, high;
};
struct Ints {
  __m256i low, high;
};
using Table = Lanes;

TERN_WORD Lanes load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
TERN_WORD Lanes load_first(const float* p, std::size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i count = _mm256_set1_epi32(static_cast<int>(n));
  const __m256i low = _mm256_cmpgt_epi32(count, lane);
  const __m256i high = _mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8)));
  return {_mm256_maskload_ps(p, low), _mm256_maskload_ps(p + 8, high)};
}
TERN_WORD void store(float* p, Lanes v) {
  _mm256_storeu_ps(p, v.low);
  _mm256_storeu_ps(p + 8, v.high);
}
TERN_WORD Lanes broadcast(float v) {
  return {_mm256_set1_ps(v), _mm256_set1_ps(v)};
}
TERN_WORD Lanes mul(Lanes a, Lanes b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
TERN_WORD Lanes add(Lanes a, Lanes b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
TERN_WORD Lanes sub(Lanes a, Lanes b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
TERN_WORD Lanes fma(Lanes a, Lanes b, Lanes c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
TERN_WORD float sum(Lanes v) {
  const __m256 v8 = _mm256_add_ps(v.low, v.high);
  const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
  const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
  return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

template <int h>
TERN_WORD Lanes swap_lanes(Lanes v) {
  if constexpr (h == 8) return {v.high, v.low};
  if constexpr (h == 4)
    return {_mm256_permute2f128_ps(v.low, v.low, 1), _mm256_permute2f128_ps(v.high, v.high, 1)};
  if constexpr (h == 2) return {_mm256_permute_ps(v.low, 0x4e), _mm256_permute_ps(v.high, 0x4e)};
  if constexpr (h == 1) return {_mm256_permute_ps(v.low, 0xb1), _mm256_permute_ps(v.high, 0xb1)};
}
template <int h>
TERN_WORD Lanes negate_upper(Lanes v) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  if constexpr (h == 8) return {v.low, _mm256_xor_ps(v.high, _mm256_set1_ps(-0.0f))};
  constexpr int shift = h == 1 ? 31 : h == 2 ? 30 : 29;  // bit h of the lane becomes the sign
  const __m256i sign = _mm256_and_si256(_mm256_slli_epi32(lane, shift),
                                        _mm256_set1_epi32(static_cast<int>(0x80000000)));
  return {_mm256_xor_ps(v.low, _mm256_castsi256_ps(sign)),
          _mm256_xor_ps(v.high, _mm256_castsi256_ps(sign))};
}

TERN_WORD Ints ints(int v) {
  return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)};
}
TERN_WORD Ints bit_and(Ints a, Ints b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
TERN_WORD Ints bit_or(Ints a, Ints b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
TERN_WORD Ints add(Ints a, Ints b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
TERN_WORD Ints subtract(Ints a, Ints b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
TERN_WORD Ints shift_left(Ints v, int n) {
  const __m256i count = _mm256_set1_epi32(n);
  return {_mm256_sllv_epi32(v.low, count), _mm256_sllv_epi32(v.high, count)};
}
TERN_WORD Ints shift_right(Ints v, int n) {
  const __m256i count = _mm256_set1_epi32(n);
  return {_mm256_srlv_epi32(v.low, count), _mm256_srlv_epi32(v.high, count)};
}
TERN_WORD Ints where_equal(Ints a, Ints b, int value) {
  const __m256i v = _mm256_set1_epi32(value);
  return {_mm256_and_si256(_mm256_cmpeq_epi32(a.low, b.low), v),
          _mm256_and_si256(_mm256_cmpeq_epi32(a.high, b.high), v)};
}
TERN_WORD Ints where_greater(Lanes a, Lanes b, int value) {
  const __m256i v = _mm256_set1_epi32(value);
  return {_mm256_and_si256(_mm256_castps_si256(_mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ)), v),
          _mm256_and_si256(_mm256_castps_si256(_mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ)), v)};
}
TERN_WORD void store_bytes(std::uint8_t* p, Ints v) {
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i pairs = _mm256_packus_epi32(_mm256_and_si256(v.low, low),
                                            _mm256_and_si256(v.high, low));  // 0-3 8-11 | 4-7 12-15
  const __m256i bytes = _mm256_packus_epi16(pairs, pairs);
  const __m128i halves =
      _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  std::memcpy(p, &halves, sizeof halves);
}
TERN_WORD Ints where_bit(std::uint32_t bits, int value) {
  const Ints lane = {_mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128),
                     _mm256_setr_epi32(256, 512, 1024, 2048, 4096, 8192, 16384, 32768)};
  return where_equal(bit_and(ints(static_cast<int>(bits)), lane), lane, value);
}
TERN_WORD Lanes to_floats(Ints v) {
  return {_mm256_cvtepi32_ps(v.low), _mm256_cvtepi32_ps(v.high)};
}
TERN_WORD Lanes as_floats(Ints v) {
  return {_mm256_castsi256_ps(v.low), _mm256_castsi256_ps(v.high)};
}

TERN_WORD __m128i load16(const std::byte* p) {
  __m128i v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
TERN_WORD Ints widen_u8(const std::byte* p) {
  const __m128i v = load16(p);
  return {_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(v, v))};
}
TERN_WORD Ints widen_i8(const std::byte* p) {
  const __m128i v = load16(p);
  return {_mm256_cvtepi8_epi32(v), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(v, v))};
}
TERN_WORD Ints widen_u16(const std::byte* p) {
  return {_mm256_cvtepu16_epi32(load16(p)), _mm256_cvtepu16_epi32(load16(p + 16))};
}
TERN_WORD Lanes f16_to_floats(const std::byte* p) {
  return {_mm256_cvtph_ps(load16(p)), _mm256_cvtph_ps(load16(p + 16))};
}
/// 16 bits of an f16 number for each byte.
TERN_WORD __m256i e4m3_as_f16(const std::byte* p) {
  const __m256i moved = _mm256_slli_epi16(_mm256_cvtepi8_epi16(load16(p)), 7);
  const __m256i magnitude = _mm256_set1_epi16(0x3f80);
  const __m256i nan = _mm256_cmpeq_epi16(_mm256_and_si256(moved, magnitude), magnitude);
  const __m256i number = _mm256_set1_epi16(static_cast<short>(0xbf80));
  return _mm256_or_si256(_mm256_and_si256(moved, number), nan);
}
TERN_WORD Lanes e4m3_over_256(const std::byte* p) {
  const __m256i bits = e4m3_as_f16(p);
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(bits)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(bits, 1))};
}
TERN_WORD Lanes broadcast_f16(const std::byte* p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof bits);
  const __m256 v = _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
  return {v, v};
}

/// Eight lanes of a table of sixteen: bit 3 of the index chooses the half.
TERN_WORD __m256 lookup8(Table table, __m256i index) {
  const __m256 half = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, index),
                          _mm256_permutevar8x32_ps(table.high, index), half);
}
TERN_WORD Lanes lookup(Table table, Ints index) {
  return {lookup8(table, index.low), lookup8(table, index.high)};
}

TERN_WORD __m256 lookup8(Table low, Table high, __m256i index) {
  const __m256 half = _mm256_castsi256_ps(_mm256_slli_epi32(index, 27));
  return _mm256_blendv_ps(lookup8(low, index), lookup8(high, index), half);
}
TERN_WORD Lanes lookup(Table low, Table high, Ints index) {
  return {lookup8(low, high, index.low), lookup8(low, high, index.high)};
}

/// Eight codes, from `bits` bytes.
template <int bits>
TERN_WORD __m256i unpack8(const std::byte* p) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i bit = _mm256_mullo_epi32(lane, _mm256_set1_epi32(bits));
  long long word = 0;
  std::memcpy(&word, p, bits);
  if constexpr (bits <= 4) return _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(word)), bit);
  const __m256i byte = _mm256_srli_epi32(bit, 3);  // a code lies in this byte and the next
  const __m256i pair = _mm256_or_si256(
      _mm256_or_si256(byte, _mm256_slli_epi32(_mm256_add_epi32(byte, _mm256_set1_epi32(1)), 8)),
      _mm256_set1_epi32(static_cast<int>(0x80800000)));
  const __m256i words = _mm256_shuffle_epi8(_mm256_set1_epi64x(word), pair);
  return _mm256_srlv_epi32(words, _mm256_and_si256(bit, _mm256_set1_epi32(7)));
}
template <int bits>
TERN_WORD Ints unpack(const std::byte* p) {
  if constexpr (bits == 8) return widen_u8(p);
  return {unpack8<bits>(p), unpack8<bits>(p + bits)};
}

}  // namespace tern::quant::avx2
#undef TERN_WORD
#endif
