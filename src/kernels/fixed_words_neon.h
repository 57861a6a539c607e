// The words of fixed_words_avx512.h on NEON: 64 bytes are four registers.
#pragma once
#if defined(__aarch64__)

#include <array>
#include <cstring>

#include "quant/lanes_neon.h"

#define TERN_WORD __attribute__((always_inline)) inline

namespace tern::kernels::fixed_neon {
using namespace quant::neon;

// How fixed_dot.inc.h asks for memory, in all forms for NEON: not measured.
inline constexpr std::size_t kAhead = 8192, kStage = 0;
inline constexpr bool kOneRun = true;

TERN_WORD uint8x16_t as_bytes(uint32x4_t v) {
  return vreinterpretq_u8_u32(v);
}
TERN_WORD uint16x8_t as_words(uint32x4_t v) {
  return vreinterpretq_u16_u32(v);
}
TERN_WORD int16x8_t as_signed_words(uint32x4_t v) {
  return vreinterpretq_s16_u32(v);
}
TERN_WORD uint32x4_t of(uint8x16_t v) {
  return vreinterpretq_u32_u8(v);
}
TERN_WORD uint32x4_t of(uint16x8_t v) {
  return vreinterpretq_u32_u16(v);
}
TERN_WORD Ints four(uint32x4_t v) {
  return {{v, v, v, v}};
}

TERN_WORD Ints load_ints(const void* p) {
  const auto* const bytes = static_cast<const std::uint8_t*>(p);
  return each_int([&](int i) { return of(vld1q_u8(bytes + 16 * i)); });
}
TERN_WORD void store_ints(void* p, Ints a) {
  auto* const bytes = static_cast<std::uint8_t*>(p);
  for (int i = 0; i < 4; ++i) vst1q_u8(bytes + 16 * i, as_bytes(a.v[i]));
}
TERN_WORD Ints words(int n) {
  return four(of(vdupq_n_u16(static_cast<std::uint16_t>(n))));
}
TERN_WORD Ints bytes(int n) {
  return four(of(vdupq_n_u8(static_cast<std::uint8_t>(n))));
}
TERN_WORD Ints zero_ints() {
  return four(vdupq_n_u32(0));
}
template <int n>
TERN_WORD Ints words_right(Ints a) {
  return each_int([&](int i) { return of(as_words(a.v[i]) >> n); });
}
template <int n>
TERN_WORD Ints words_left(Ints a) {
  return each_int([&](int i) { return of(as_words(a.v[i]) << n); });
}
TERN_WORD Ints subtract_words(Ints a, Ints b) {
  return each_int([&](int i) { return of(vsubq_u16(as_words(a.v[i]), as_words(b.v[i]))); });
}
TERN_WORD Ints subtract_bytes(Ints a, Ints b) {
  return each_int([&](int i) { return of(vsubq_u8(as_bytes(a.v[i]), as_bytes(b.v[i]))); });
}
TERN_WORD Ints bit_xor(Ints a, Ints b) {
  return each_int([&](int i) { return veorq_u32(a.v[i], b.v[i]); });
}
TERN_WORD Ints low_nibbles(Ints a) {
  return bit_and(a, bytes(15));
}
TERN_WORD Ints high_nibbles(Ints a) {
  return each_int([&](int i) { return of(vshrq_n_u8(as_bytes(a.v[i]), 4)); });
}
TERN_WORD uint32x4_t right64(uint32x4_t v, int n) {
  return vreinterpretq_u32_u64(vreinterpretq_u64_u32(v) >> n);
}
TERN_WORD Ints quarters_right(Ints a, int n0, int n1, int n2, int n3) {
  return {{right64(a.v[0], n0), right64(a.v[1], n1), right64(a.v[2], n2), right64(a.v[3], n3)}};
}
TERN_WORD Ints lookup_bytes(Ints table, Ints index) {
  return each_int(
      [&](int i) { return of(vqtbl1q_u8(as_bytes(table.v[i]), as_bytes(index.v[i]))); });
}
/// Bytes below 32, of a table of 32.
TERN_WORD Ints lookup_32(const std::uint8_t* table, Ints index) {
  const uint8x16x2_t bytes = {{vld1q_u8(table), vld1q_u8(table + 16)}};
  return each_int([&](int i) { return of(vqtbl2q_u8(bytes, as_bytes(index.v[i]))); });
}
TERN_WORD uint32x4_t quarter_at(const void* p) {
  return of(vld1q_u8(static_cast<const std::uint8_t*>(p)));
}
TERN_WORD Ints four_times(const void* p) {
  return four(quarter_at(p));
}
TERN_WORD Ints zip_low(Ints a, Ints b) {
  return each_int([&](int i) { return of(vzip1q_u8(as_bytes(a.v[i]), as_bytes(b.v[i]))); });
}
TERN_WORD Ints zip_high(Ints a, Ints b) {
  return each_int([&](int i) { return of(vzip2q_u8(as_bytes(a.v[i]), as_bytes(b.v[i]))); });
}
TERN_WORD Ints two_twice(const std::byte* a, const std::byte* b) {
  const uint32x4_t one = quarter_at(a), other = quarter_at(b);
  return {{one, other, one, other}};
}
template <std::size_t stride>
TERN_WORD Ints quarters(const std::byte* p) {
  return {{quarter_at(p), quarter_at(p + stride), quarter_at(p + 2 * stride),
           quarter_at(p + 3 * stride)}};
}

TERN_WORD Ints where_bits(std::uint64_t bits, int value) {
  const uint8x16_t all = vreinterpretq_u8_u64(vdupq_n_u64(bits));
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  const uint8x16_t first = vreinterpretq_u8_u64(uint64x2_t{0, 0x0101010101010101});
  const uint8x16_t v = vdupq_n_u8(static_cast<std::uint8_t>(value));
  return each_int([&](int i) {
    const uint8x16_t at = vaddq_u8(first, vdupq_n_u8(static_cast<std::uint8_t>(2 * i)));
    return of(vandq_u8(vtstq_u8(vqtbl1q_u8(all, at), bit), v));
  });
}

/// Where sixteen codes of a bit stream are, `skip` bytes behind the start of a load: bytes for two
/// vectors of words, and how far to shift those.
struct SixteenCodes {
  alignas(16) std::uint8_t bytes[2][16];
  alignas(16) std::int16_t shifts[2][8];
};
template <std::size_t bits, std::size_t skip>
inline constexpr SixteenCodes kSixteenCodes = [] {
  SixteenCodes codes{};
  for (std::size_t i = 0; i < 16; ++i) {
    const std::size_t byte = skip + i * bits / 8;  // a code lies in it and the next
    codes.bytes[i / 8][i % 8 * 2] = static_cast<std::uint8_t>(byte);
    codes.bytes[i / 8][i % 8 * 2 + 1] = static_cast<std::uint8_t>(byte + 1);
    codes.shifts[i / 8][i % 8] = static_cast<std::int16_t>(-static_cast<int>(i * bits % 8));
  }
  return codes;
}();
/// Codes 16 k to 16 k + 15 of 128 at p, a byte each; reads nothing behind them.
template <std::size_t bits, std::size_t k>
TERN_WORD uint32x4_t sixteen_codes(const std::byte* p) {
  constexpr std::size_t kWanted = 2 * bits * k, kLast = 16 * bits - 16;
  constexpr std::size_t kFrom = kWanted < kLast ? kWanted : kLast;
  constexpr const SixteenCodes& kAt = kSixteenCodes<bits, kWanted - kFrom>;
  const uint8x16_t stream = load16(p + kFrom);
  const auto part = [&](int i) {
    const uint16x8_t pairs = vreinterpretq_u16_u8(vqtbl1q_u8(stream, vld1q_u8(kAt.bytes[i])));
    return vreinterpretq_u8_u16(vshlq_u16(pairs, vld1q_s16(kAt.shifts[i])));
  };
  return of(vandq_u8(vuzp1q_u8(part(0), part(1)), vdupq_n_u8((1 << bits) - 1)));
}
template <std::size_t bits>
TERN_WORD void octets(const std::byte* p, Ints* halves) {
  halves[0] = {{sixteen_codes<bits, 0>(p), sixteen_codes<bits, 2>(p), sixteen_codes<bits, 4>(p),
                sixteen_codes<bits, 6>(p)}};
  halves[1] = {{sixteen_codes<bits, 1>(p), sixteen_codes<bits, 3>(p), sixteen_codes<bits, 5>(p),
                sixteen_codes<bits, 7>(p)}};
}

TERN_WORD Ints crumbs(const std::byte* p) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(p);
  const int64x2_t shifts = {0, -2};
  return each_int([&](int i) {
    const uint64x2_t twice =
        vreinterpretq_u64_u8(vcombine_u8(vld1_u8(bytes + 8 * i), vld1_u8(bytes + 8 * i)));
    return vreinterpretq_u32_u64(vshlq_u64(twice, shifts));
  });
}

/// sum += a b, a word of each quarter's eight to one of its four lanes.
TERN_WORD Ints dot(Ints sum, Ints a, Ints b) {
  return each_int([&](int i) {
    const int16x8_t x = as_signed_words(a.v[i]), y = as_signed_words(b.v[i]);
    const int32x4_t low =
        vmlal_s16(vreinterpretq_s32_u32(sum.v[i]), vget_low_s16(x), vget_low_s16(y));
    return vreinterpretq_u32_s32(vmlal_high_s16(low, x, y));
  });
}
TERN_WORD Ints first_dot(Ints a, Ints b) {
  return dot(zero_ints(), a, b);
}
TERN_WORD Ints add_ints(Ints a, Ints b) {
  return add(a, b);
}
TERN_WORD Ints times(Ints a, int n) {
  const uint32x4_t factor = vreinterpretq_u32_s32(vdupq_n_s32(n));
  return each_int([&](int i) { return vmulq_u32(a.v[i], factor); });
}
TERN_WORD Ints sum_quarters(const Ints* v) {
  return each_int([&](int i) {
    return vpaddq_u32(vpaddq_u32(v[0].v[i], v[1].v[i]), vpaddq_u32(v[2].v[i], v[3].v[i]));
  });
}

// Eight floats.

struct Eight {
  float32x4_t low, high;
};
using Bytes = uint8x16_t;

/// out[u], lane 4 i + r: element 4 u + i of v[r].
TERN_WORD Lanes transposed(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) {
  const float32x4_t ac = vzip1q_f32(a, c), bd = vzip1q_f32(b, d);
  const float32x4_t ac2 = vzip2q_f32(a, c), bd2 = vzip2q_f32(b, d);
  return {{vzip1q_f32(ac, bd), vzip2q_f32(ac, bd), vzip1q_f32(ac2, bd2), vzip2q_f32(ac2, bd2)}};
}
TERN_WORD void interleave(const Eight* v, Lanes* out) {
  out[0] = transposed(v[0].low, v[1].low, v[2].low, v[3].low);
  out[1] = transposed(v[0].high, v[1].high, v[2].high, v[3].high);
}
TERN_WORD Lanes first_lanes(Lanes a, std::size_t n) {
  const uint32x4_t lane = {0, 1, 2, 3}, count = vdupq_n_u32(static_cast<std::uint32_t>(n));
  return each([&](int i) {
    const uint32x4_t inside = vcltq_u32(lane + static_cast<std::uint32_t>(4 * i), count);
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a.v[i]), inside));
  });
}
TERN_WORD void store_strides(float* sums, Lanes a) {
  vst1q_f32(sums, vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3])));
}

TERN_WORD Eight load_eight(const float* p) {
  return {vld1q_f32(p), vld1q_f32(p + 4)};
}
TERN_WORD Bytes sixteen_bytes(std::uint64_t low, std::uint64_t high) {
  return vreinterpretq_u8_u64(uint64x2_t{low, high});
}
TERN_WORD Bytes first_bytes(std::uint64_t v) {
  return sixteen_bytes(v, 0);
}
TERN_WORD Bytes bytes_minus(Bytes v, int n) {
  return vsubq_u8(v, vdupq_n_u8(static_cast<std::uint8_t>(n)));
}
TERN_WORD void nibbles_of(Bytes v, Bytes& low, Bytes& high) {
  low = vandq_u8(v, vdupq_n_u8(15));
  high = vshrq_n_u8(v, 4);
}
TERN_WORD Bytes even_then_odd(Bytes v) {
  return vcombine_u8(vget_low_u8(vuzp1q_u8(v, v)), vget_low_u8(vuzp2q_u8(v, v)));
}
TERN_WORD Bytes last_bytes(Bytes v) {
  return vextq_u8(v, v, 8);
}
TERN_WORD Eight words_to_floats(uint16x8_t v) {
  return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(v))), vcvtq_f32_u32(vmovl_high_u16(v))};
}
TERN_WORD Eight bytes_to_floats(Bytes v) {
  return words_to_floats(vmovl_u8(vget_low_u8(v)));
}
TERN_WORD Eight bytes_to_floats(std::uint64_t v) {
  return words_to_floats(vmovl_u8(vcreate_u8(v)));
}
TERN_WORD Eight signed_to_floats(Bytes v) {
  const int16x8_t w = vmovl_s8(vreinterpret_s8_u8(vget_low_u8(v)));
  return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(w))), vcvtq_f32_s32(vmovl_high_s16(w))};
}
TERN_WORD Eight f16_bits_to_floats(Bytes v) {
  const float16x8_t f16 = vreinterpretq_f16_u8(v);
  return {vcvt_f32_f16(vget_low_f16(f16)), vcvt_high_f32_f16(f16)};
}
TERN_WORD Eight bf16_bits_to_floats(Bytes v) {
  const uint16x8_t bits = vreinterpretq_u16_u8(v);
  return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
          vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))};
}
TERN_WORD Eight scale_all(float d, Eight v) {
  return {vmulq_n_f32(v.low, d), vmulq_n_f32(v.high, d)};
}
TERN_WORD Eight minus_all(Eight v, float n) {
  return {vsubq_f32(v.low, vdupq_n_f32(n)), vsubq_f32(v.high, vdupq_n_f32(n))};
}
TERN_WORD Eight interleaved(Eight v) {
  return {vuzp1q_f32(v.low, v.high), vuzp2q_f32(v.low, v.high)};
}
TERN_WORD Eight each_twice(Eight v) {
  return {vzip1q_f32(v.low, v.low), vzip2q_f32(v.low, v.low)};
}
TERN_WORD Eight each_four_times(Eight v) {
  return {vdupq_laneq_f32(v.low, 0), vdupq_laneq_f32(v.low, 1)};
}
TERN_WORD Eight half_e8m0(Bytes v) {
  const uint16x8_t e = vmovl_u8(vget_low_u8(v));
  const auto part = [](uint32x4_t e4) {
    const uint32x4_t normal = (e4 - 1u) << 23;
    const uint32x4_t small = vshlq_u32(vdupq_n_u32(0x00200000), vreinterpretq_s32_u32(e4));
    return vreinterpretq_f32_u32(vbslq_u32(vcgtq_u32(e4, vdupq_n_u32(1)), normal, small));
  };
  return {part(vmovl_u16(vget_low_u16(e))), part(vmovl_high_u16(e))};
}

/// f16 numbers at p, p + stride, ... p + 7 stride.
template <std::size_t stride>
TERN_WORD Eight f16_column(const std::byte* p) {
  std::uint16_t column[8];
  for (std::size_t i = 0; i < 8; ++i) std::memcpy(column + i, p + i * stride, 2);
  return f16_bits_to_floats(vreinterpretq_u8_u16(vld1q_u16(column)));
}
template <std::size_t stride>
TERN_WORD Bytes byte_column(const std::byte* p) {
  std::uint64_t column = 0;
  for (std::size_t i = 0; i < 8; ++i)
    column |= std::to_integer<std::uint64_t>(p[i * stride]) << (8 * i);
  return sixteen_bytes(column, 0);
}

TERN_WORD std::uint64_t even_u16(std::uint64_t v) {
  return (v & 0xffff) | ((v >> 16) & 0xffff0000);
}
TERN_WORD std::uint64_t odd_u16(std::uint64_t v) {
  return even_u16(v >> 16);
}
TERN_WORD std::uint64_t spread_nibbles(std::uint64_t v) {
  v = (v | v << 16) & 0x0000ffff0000ffff;
  v = (v | v << 8) & 0x00ff00ff00ff00ff;
  return (v | v << 4) & 0x0f0f0f0f0f0f0f0f;
}
TERN_WORD std::uint64_t spread_pairs(std::uint64_t v) {
  v = (v | v << 24) & 0x000000ff000000ff;
  v = (v | v << 12) & 0x000f000f000f000f;
  return ((v | v << 6) & 0x0303030303030303) << 4;
}

}  // namespace tern::kernels::fixed_neon
#undef TERN_WORD
#endif
