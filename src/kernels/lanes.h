// Sixteen floats at a time, the same on every instruction set: four registers of NEON
// (lanes_neon.h), two of AVX2 or one of AVX-512. Each operation rounds as its scalar form does and
// sums are taken as one fixed tree, so kernels written with it give the same bits on all.
//
// A kernel's body is written once, in a file that is included inside each namespace below with
// TERN_TARGET defined as the attribute that enables the instruction set (see ops.cpp).
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/lanes_neon.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define TERN_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define TERN_TARGET_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))

namespace tern::kernels::avx2 {

#define TERN_LANES TERN_TARGET_AVX2 __attribute__((always_inline)) inline

struct Lanes {
  __m256 low, high;
};

TERN_LANES Lanes load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
TERN_LANES void store(float* p, Lanes v) {
  _mm256_storeu_ps(p, v.low);
  _mm256_storeu_ps(p + 8, v.high);
}
TERN_LANES Lanes all(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

/// Selects the first n lanes.
struct First {
  __m256i low, high;
};
TERN_LANES First first(std::size_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i count = _mm256_set1_epi32(static_cast<int>(n));
  return {_mm256_cmpgt_epi32(count, lane),
          _mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8)))};
}
/// Zero in the other lanes, whose memory is not touched.
TERN_LANES Lanes load(const float* p, First n) {
  return {_mm256_maskload_ps(p, n.low), _mm256_maskload_ps(p + 8, n.high)};
}
TERN_LANES void store(float* p, Lanes v, First n) {
  _mm256_maskstore_ps(p, n.low, v.low);
  _mm256_maskstore_ps(p + 8, n.high, v.high);
}
TERN_LANES Lanes select(First n, Lanes in, Lanes out) {
  return {_mm256_blendv_ps(out.low, in.low, _mm256_castsi256_ps(n.low)),
          _mm256_blendv_ps(out.high, in.high, _mm256_castsi256_ps(n.high))};
}

TERN_LANES Lanes operator+(Lanes a, Lanes b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
TERN_LANES Lanes operator-(Lanes a, Lanes b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
TERN_LANES Lanes operator*(Lanes a, Lanes b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
TERN_LANES Lanes operator/(Lanes a, Lanes b) {
  return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}
/// a b + c, rounded once.
TERN_LANES Lanes fma(Lanes a, Lanes b, Lanes c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
/// The greater; b where either is NaN.
TERN_LANES Lanes max(Lanes a, Lanes b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
/// The lesser; b where either is NaN.
TERN_LANES Lanes min(Lanes a, Lanes b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
TERN_LANES Lanes round(Lanes v) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(v.low, kNearest), _mm256_round_ps(v.high, kNearest)};
}
TERN_LANES Lanes floor(Lanes v) {
  return {_mm256_floor_ps(v.low), _mm256_floor_ps(v.high)};
}
/// 2^n for whole numbers n in [-126, 127].
TERN_LANES Lanes power_of_two(Lanes n) {
  const __m256i bias = _mm256_set1_epi32(127);
  const auto one = [&](__m256 v) TERN_TARGET_AVX2 {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(v), bias), 23));
  };
  return {one(n.low), one(n.high)};
}

TERN_LANES float sum8(__m256 v) {
  const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
  return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}
TERN_LANES float sum(Lanes v) {
  return sum8(_mm256_add_ps(v.low, v.high));
}
TERN_LANES float max8(__m256 v) {
  const __m128 v4 = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 v2 = _mm_max_ps(v4, _mm_movehl_ps(v4, v4));
  return _mm_cvtss_f32(_mm_max_ss(v2, _mm_movehdup_ps(v2)));
}
/// The greatest lane, if none is NaN.
TERN_LANES float max_of(Lanes v) {
  return max8(_mm256_max_ps(v.low, v.high));
}

TERN_LANES __m256 f16_to_float8(const std::uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
TERN_LANES __m256 bf16_to_float8(const std::uint16_t* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
TERN_LANES Lanes load_f16(const std::uint16_t* p) {
  return {f16_to_float8(p), f16_to_float8(p + 8)};
}
TERN_LANES Lanes load_bf16(const std::uint16_t* p) {
  return {bf16_to_float8(p), bf16_to_float8(p + 8)};
}

/// Sixteen 32-bit words.
struct Words {
  __m256i low, high;
};
TERN_LANES Words load_words(const std::byte* p) {
  const auto* words = reinterpret_cast<const __m256i*>(p);
  return {_mm256_loadu_si256(words), _mm256_loadu_si256(words + 1)};
}
TERN_LANES Words shift_right(Words w, unsigned n) {
  const __m128i count = _mm_cvtsi32_si128(static_cast<int>(n));
  return {_mm256_srl_epi32(w.low, count), _mm256_srl_epi32(w.high, count)};
}
/// Bits 0 and 1 of `low`, then bit 0 of `third`.
TERN_LANES Words with_third_bit(Words low, Words third) {
  const __m256i two = _mm256_set1_epi32(3), one = _mm256_set1_epi32(4);
  const auto merge = [&](__m256i a, __m256i b) TERN_TARGET_AVX2 {
    return _mm256_or_si256(_mm256_and_si256(a, two),
                           _mm256_and_si256(_mm256_slli_epi32(b, 2), one));
  };
  return {merge(low.low, third.low), merge(low.high, third.high)};
}
/// Sixteen numbers to look up.
struct Table {
  __m256 low, high;
};
TERN_LANES Table load_table(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
/// table[w & 15]
TERN_LANES Lanes look_up16(Table table, Words w) {
  const auto pick = [&](__m256i i) TERN_TARGET_AVX2 {
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, i),
                            _mm256_permutevar8x32_ps(table.high, i),
                            _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
  };
  return {pick(w.low), pick(w.high)};
}
/// table[w & 7]; the table's second half is the first one again.
TERN_LANES Lanes look_up8(Table table, Words w) {
  return {_mm256_permutevar8x32_ps(table.low, w.low), _mm256_permutevar8x32_ps(table.low, w.high)};
}
/// The lowest byte of each word.
TERN_LANES Lanes byte_to_float(Words w) {
  const __m256i byte = _mm256_set1_epi32(0xff);
  return {_mm256_cvtepi32_ps(_mm256_and_si256(w.low, byte)),
          _mm256_cvtepi32_ps(_mm256_and_si256(w.high, byte))};
}

TERN_LANES void store_words(std::int32_t* p, Words w) {
  auto* const words = reinterpret_cast<__m256i*>(p);
  _mm256_storeu_si256(words, w.low);
  _mm256_storeu_si256(words + 1, w.high);
}
TERN_LANES Words load_words(const std::int32_t* p) {
  return load_words(reinterpret_cast<const std::byte*>(p));
}
TERN_LANES Words all_words(std::int32_t w) {
  return {_mm256_set1_epi32(w), _mm256_set1_epi32(w)};
}
TERN_LANES Words either(Words a, Words b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
template <unsigned n>
TERN_LANES Words shift_left(Words w) {
  return {_mm256_slli_epi32(w.low, n), _mm256_slli_epi32(w.high, n)};
}
/// (w >> n) & mask
template <unsigned n>
TERN_LANES Words bits(Words w, std::int32_t mask) {
  const __m256i m = _mm256_set1_epi32(mask);
  return {_mm256_and_si256(_mm256_srli_epi32(w.low, n), m),
          _mm256_and_si256(_mm256_srli_epi32(w.high, n), m)};
}

// Words as pairs of 16-bit integers: the lower half is the first of the pair.

/// The lower halves of a and b, and the upper ones, as pairs.
TERN_LANES Words zip_low(Words a, Words b) {
  return {_mm256_blend_epi16(a.low, _mm256_slli_epi32(b.low, 16), 0xaa),
          _mm256_blend_epi16(a.high, _mm256_slli_epi32(b.high, 16), 0xaa)};
}
TERN_LANES Words zip_high(Words a, Words b) {
  return {_mm256_blend_epi16(_mm256_srli_epi32(a.low, 16), b.low, 0xaa),
          _mm256_blend_epi16(_mm256_srli_epi32(a.high, 16), b.high, 0xaa)};
}
/// The lower bytes of both halves with their signs, and the upper ones.
TERN_LANES Words lower_bytes(Words w) {
  return {_mm256_srai_epi16(_mm256_slli_epi16(w.low, 8), 8),
          _mm256_srai_epi16(_mm256_slli_epi16(w.high, 8), 8)};
}
TERN_LANES Words upper_bytes(Words w) {
  return {_mm256_srai_epi16(w.low, 8), _mm256_srai_epi16(w.high, 8)};
}
TERN_LANES Words add_pairs(Words a, Words b) {
  return {_mm256_add_epi16(a.low, b.low), _mm256_add_epi16(a.high, b.high)};
}
/// sum + a0 b0 + a1 b1, modulo 2^32.
TERN_LANES Words dot_pairs(Words sum, Words a, Words b) {
  return {_mm256_add_epi32(sum.low, _mm256_madd_epi16(a.low, b.low)),
          _mm256_add_epi32(sum.high, _mm256_madd_epi16(a.high, b.high))};
}
TERN_LANES Lanes to_float(Words w) {
  return {_mm256_cvtepi32_ps(w.low), _mm256_cvtepi32_ps(w.high)};
}
/// Rounded to the nearest, ties to even; what is beyond 16 bits is the nearest that is not.
TERN_LANES void store_rounded(std::int16_t* p, Lanes v) {
  const __m256i mixed = _mm256_packs_epi32(_mm256_cvtps_epi32(v.low), _mm256_cvtps_epi32(v.high));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(mixed, 0xd8));
}
/// Sixteen bytes to look up.
struct Bytes {
  __m256i v;
};
TERN_LANES Bytes load_bytes(const std::int8_t* p) {
  return {_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
/// table[byte] for every byte, which is below 16.
TERN_LANES Words look_up_bytes(Bytes table, Words w) {
  return {_mm256_shuffle_epi8(table.v, w.low), _mm256_shuffle_epi8(table.v, w.high)};
}

#undef TERN_LANES
}  // namespace tern::kernels::avx2

namespace tern::kernels::avx512 {

#define TERN_LANES TERN_TARGET_AVX512 __attribute__((always_inline)) inline

struct Lanes {
  __m512 v;
};
using First = __mmask16;
inline constexpr __mmask16 kAll = 0xffff;  // g++ 12 warns about its own header in unmasked forms

TERN_LANES Lanes load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
TERN_LANES void store(float* p, Lanes v) {
  _mm512_storeu_ps(p, v.v);
}
TERN_LANES Lanes all(float x) {
  return {_mm512_set1_ps(x)};
}

TERN_LANES First first(std::size_t n) {
  return n >= 16 ? kAll : static_cast<First>((1u << n) - 1);
}
TERN_LANES Lanes load(const float* p, First n) {
  return {_mm512_maskz_loadu_ps(n, p)};
}
TERN_LANES void store(float* p, Lanes v, First n) {
  _mm512_mask_storeu_ps(p, n, v.v);
}
TERN_LANES Lanes select(First n, Lanes in, Lanes out) {
  return {_mm512_mask_blend_ps(n, out.v, in.v)};
}

TERN_LANES Lanes operator+(Lanes a, Lanes b) {
  return {_mm512_add_ps(a.v, b.v)};
}
TERN_LANES Lanes operator-(Lanes a, Lanes b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
TERN_LANES Lanes operator*(Lanes a, Lanes b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
TERN_LANES Lanes operator/(Lanes a, Lanes b) {
  return {_mm512_div_ps(a.v, b.v)};
}
TERN_LANES Lanes fma(Lanes a, Lanes b, Lanes c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
TERN_LANES Lanes max(Lanes a, Lanes b) {
  return {_mm512_maskz_max_ps(kAll, a.v, b.v)};
}
TERN_LANES Lanes min(Lanes a, Lanes b) {
  return {_mm512_maskz_min_ps(kAll, a.v, b.v)};
}
TERN_LANES Lanes round(Lanes v) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm512_maskz_roundscale_ps(kAll, v.v, kNearest)};
}
TERN_LANES Lanes floor(Lanes v) {
  constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  return {_mm512_maskz_roundscale_ps(kAll, v.v, kDown)};
}
TERN_LANES Lanes power_of_two(Lanes n) {
  const __m512i whole = _mm512_maskz_cvtps_epi32(kAll, n.v);
  return {_mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(kAll, _mm512_add_epi32(whole, _mm512_set1_epi32(127)), 23))};
}

TERN_LANES avx2::Lanes halves(Lanes v) {
  return {_mm512_maskz_extractf32x8_ps(0xff, v.v, 0), _mm512_maskz_extractf32x8_ps(0xff, v.v, 1)};
}
TERN_LANES float sum(Lanes v) {
  const avx2::Lanes h = halves(v);
  return avx2::sum8(_mm256_add_ps(h.low, h.high));
}
TERN_LANES float max_of(Lanes v) {
  const avx2::Lanes h = halves(v);
  return avx2::max8(_mm256_max_ps(h.low, h.high));
}

TERN_LANES Lanes load_f16(const std::uint16_t* p) {
  return {_mm512_maskz_cvtph_ps(kAll, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
TERN_LANES Lanes load_bf16(const std::uint16_t* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, bits), 16))};
}

struct Words {
  __m512i v;
};
TERN_LANES Words load_words(const std::byte* p) {
  return {_mm512_loadu_si512(p)};
}
TERN_LANES Words shift_right(Words w, unsigned n) {
  return {_mm512_maskz_srl_epi32(kAll, w.v, _mm_cvtsi32_si128(static_cast<int>(n)))};
}
TERN_LANES Words with_third_bit(Words low, Words third) {
  constexpr int kThirdWhereMasked = 0xe4;  // mask ? third : low
  return {_mm512_ternarylogic_epi32(_mm512_maskz_slli_epi32(kAll, third.v, 2), low.v,
                                    _mm512_set1_epi32(4), kThirdWhereMasked)};
}
struct Table {
  __m512 v;
};
TERN_LANES Table load_table(const float* p) {
  return {_mm512_loadu_ps(p)};
}
TERN_LANES Lanes look_up16(Table table, Words w) {
  return {_mm512_maskz_permutexvar_ps(kAll, w.v, table.v)};
}
TERN_LANES Lanes look_up8(Table table, Words w) {
  return look_up16(table, w);
}
TERN_LANES Lanes byte_to_float(Words w) {
  return {_mm512_maskz_cvtepi32_ps(kAll, _mm512_and_si512(w.v, _mm512_set1_epi32(0xff)))};
}

TERN_LANES void store_words(std::int32_t* p, Words w) {
  _mm512_storeu_si512(p, w.v);
}
TERN_LANES Words load_words(const std::int32_t* p) {
  return {_mm512_loadu_si512(p)};
}
TERN_LANES Words all_words(std::int32_t w) {
  return {_mm512_set1_epi32(w)};
}
TERN_LANES Words either(Words a, Words b) {
  return {_mm512_or_si512(a.v, b.v)};
}
template <unsigned n>
TERN_LANES Words shift_left(Words w) {
  return {_mm512_maskz_slli_epi32(kAll, w.v, n)};
}
template <unsigned n>
TERN_LANES Words bits(Words w, std::int32_t mask) {
  return {_mm512_and_si512(_mm512_maskz_srli_epi32(kAll, w.v, n), _mm512_set1_epi32(mask))};
}
inline constexpr __mmask32 kUpperHalves = 0xaaaaaaaa;
TERN_LANES Words zip_low(Words a, Words b) {
  return {_mm512_mask_blend_epi16(kUpperHalves, a.v, shift_left<16>(b).v)};
}
TERN_LANES Words zip_high(Words a, Words b) {
  return {_mm512_mask_blend_epi16(kUpperHalves, _mm512_maskz_srli_epi32(kAll, a.v, 16), b.v)};
}
TERN_LANES Words lower_bytes(Words w) {
  return {_mm512_srai_epi16(_mm512_slli_epi16(w.v, 8), 8)};
}
TERN_LANES Words upper_bytes(Words w) {
  return {_mm512_srai_epi16(w.v, 8)};
}
TERN_LANES Words add_pairs(Words a, Words b) {
  return {_mm512_add_epi16(a.v, b.v)};
}
TERN_LANES Words dot_pairs(Words sum, Words a, Words b) {
  return {_mm512_add_epi32(sum.v, _mm512_madd_epi16(a.v, b.v))};
}
TERN_LANES Lanes to_float(Words w) {
  return {_mm512_maskz_cvtepi32_ps(kAll, w.v)};
}
TERN_LANES void store_rounded(std::int16_t* p, Lanes v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_maskz_cvtsepi32_epi16(kAll, _mm512_maskz_cvtps_epi32(kAll, v.v)));
}
struct Bytes {
  __m512i v;
};
TERN_LANES Bytes load_bytes(const std::int8_t* p) {
  return {_mm512_maskz_broadcast_i32x4(kAll, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
TERN_LANES Words look_up_bytes(Bytes table, Words w) {
  return {_mm512_shuffle_epi8(table.v, w.v)};
}

#undef TERN_LANES
}  // namespace tern::kernels::avx512

#endif  // __x86_64__
