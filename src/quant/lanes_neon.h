// The words of lanes_avx512.h on NEON: sixteen lanes are four registers.
#pragma once
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#define TERN_NEON  // NEON is in the baseline of the architecture
#define TERN_WORD __attribute__((always_inline)) inline

namespace tern::quant::neon {

struct Lanes {
  float32x4_t v[4];
};
struct Ints {
  uint32x4_t v[4];
};
using Table = Lanes;

/// The four parts of a result.
template <class Part>
TERN_WORD Lanes each(const Part& part) {
  return {{part(0), part(1), part(2), part(3)}};
}
template <class Part>
TERN_WORD Ints each_int(const Part& part) {
  return {{part(0), part(1), part(2), part(3)}};
}

TERN_WORD Lanes load(const float* p) {
  return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
TERN_WORD Lanes load_first(const float* p, std::size_t n) {
  float padded[16] = {};
  std::memcpy(padded, p, n * sizeof(float));
  return load(padded);
}
TERN_WORD void store(float* p, Lanes a) {
  vst1q_f32(p, a.v[0]);
  vst1q_f32(p + 4, a.v[1]);
  vst1q_f32(p + 8, a.v[2]);
  vst1q_f32(p + 12, a.v[3]);
}
TERN_WORD Lanes broadcast(float x) {
  const float32x4_t v = vdupq_n_f32(x);
  return {{v, v, v, v}};
}
TERN_WORD Lanes mul(Lanes a, Lanes b) {
  return each([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
TERN_WORD Lanes add(Lanes a, Lanes b) {
  return each([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
TERN_WORD Lanes sub(Lanes a, Lanes b) {
  return each([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
TERN_WORD Lanes fma(Lanes a, Lanes b, Lanes c) {
  return each([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
}
TERN_WORD float sum(Lanes a) {
  const float32x4_t v4 = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
  const float32x2_t v2 = vadd_f32(vget_low_f32(v4), vget_high_f32(v4));
  return vget_lane_f32(v2, 0) + vget_lane_f32(v2, 1);
}

template <int h>
TERN_WORD Lanes swap_lanes(Lanes a) {
  if constexpr (h == 8) return {{a.v[2], a.v[3], a.v[0], a.v[1]}};
  if constexpr (h == 4) return {{a.v[1], a.v[0], a.v[3], a.v[2]}};
  if constexpr (h == 2) return each([&](int i) { return vextq_f32(a.v[i], a.v[i], 2); });
  if constexpr (h == 1) return each([&](int i) { return vrev64q_f32(a.v[i]); });
}
template <int h>
TERN_WORD Lanes negate_upper(Lanes a) {
  if constexpr (h == 8) return {{a.v[0], a.v[1], vnegq_f32(a.v[2]), vnegq_f32(a.v[3])}};
  if constexpr (h == 4) return {{a.v[0], vnegq_f32(a.v[1]), a.v[2], vnegq_f32(a.v[3])}};
  constexpr std::uint32_t kMinus = 0x80000000;
  const uint32x4_t sign = {0, h == 1 ? kMinus : 0, h == 2 ? kMinus : 0, kMinus};
  return each([&](int i) { return vreinterpretq_f32_u32(vreinterpretq_u32_f32(a.v[i]) ^ sign); });
}

TERN_WORD Ints ints(int x) {
  const uint32x4_t v = vreinterpretq_u32_s32(vdupq_n_s32(x));
  return {{v, v, v, v}};
}
TERN_WORD Ints bit_and(Ints a, Ints b) {
  return each_int([&](int i) { return vandq_u32(a.v[i], b.v[i]); });
}
TERN_WORD Ints bit_or(Ints a, Ints b) {
  return each_int([&](int i) { return vorrq_u32(a.v[i], b.v[i]); });
}
TERN_WORD Ints add(Ints a, Ints b) {
  return each_int([&](int i) { return vaddq_u32(a.v[i], b.v[i]); });
}
TERN_WORD Ints subtract(Ints a, Ints b) {
  return each_int([&](int i) { return vsubq_u32(a.v[i], b.v[i]); });
}
TERN_WORD Ints shift_left(Ints a, int n) {
  return each_int([&](int i) { return a.v[i] << n; });
}
TERN_WORD Ints shift_right(Ints a, int n) {
  return each_int([&](int i) { return a.v[i] >> n; });
}
TERN_WORD Ints where_equal(Ints a, Ints b, int value) {
  const uint32x4_t v = vreinterpretq_u32_s32(vdupq_n_s32(value));
  return each_int([&](int i) { return vandq_u32(vceqq_u32(a.v[i], b.v[i]), v); });
}
TERN_WORD Ints where_greater(Lanes a, Lanes b, int value) {
  const uint32x4_t v = vreinterpretq_u32_s32(vdupq_n_s32(value));
  return each_int([&](int i) { return vandq_u32(vcgtq_f32(a.v[i], b.v[i]), v); });
}
TERN_WORD void store_bytes(std::uint8_t* p, Ints a) {
  const uint16x8_t low = vcombine_u16(vmovn_u32(a.v[0]), vmovn_u32(a.v[1]));
  const uint16x8_t high = vcombine_u16(vmovn_u32(a.v[2]), vmovn_u32(a.v[3]));
  vst1q_u8(p, vcombine_u8(vmovn_u16(low), vmovn_u16(high)));
}
TERN_WORD Ints where_bit(std::uint32_t bits, int value) {
  const uint32x4_t all = vdupq_n_u32(bits), v = vreinterpretq_u32_s32(vdupq_n_s32(value));
  const uint32x4_t first = {1, 2, 4, 8};
  return each_int([&](int i) { return vandq_u32(vtstq_u32(all, first << (4 * i)), v); });
}
TERN_WORD Lanes to_floats(Ints a) {
  return each([&](int i) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a.v[i])); });
}
TERN_WORD Lanes as_floats(Ints a) {
  return each([&](int i) { return vreinterpretq_f32_u32(a.v[i]); });
}

TERN_WORD uint8x16_t load16(const std::byte* p) {
  return vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
}
/// Halves of eight words each.
TERN_WORD Ints widen(uint16x8_t low, uint16x8_t high) {
  return {{vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)),
           vmovl_high_u16(high)}};
}
TERN_WORD Ints widen_u8(const std::byte* p) {
  const uint8x16_t v = load16(p);
  return widen(vmovl_u8(vget_low_u8(v)), vmovl_high_u8(v));
}
TERN_WORD Ints widen_i8(const std::byte* p) {
  const int8x16_t v = vreinterpretq_s8_u8(load16(p));
  const int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_high_s8(v);
  const int32x4_t wide[4] = {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low),
                             vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
  return each_int([&](int i) { return vreinterpretq_u32_s32(wide[i]); });
}
TERN_WORD Ints widen_u16(const std::byte* p) {
  return widen(vreinterpretq_u16_u8(load16(p)), vreinterpretq_u16_u8(load16(p + 16)));
}
TERN_WORD Lanes f16_to_floats(const std::byte* p) {
  const float16x8_t low = vreinterpretq_f16_u8(load16(p));
  const float16x8_t high = vreinterpretq_f16_u8(load16(p + 16));
  return {{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low),
           vcvt_f32_f16(vget_low_f16(high)), vcvt_high_f32_f16(high)}};
}
/// Sixteen E4M3 numbers divided by 256: their bits make binary16 numbers.
TERN_WORD Lanes e4m3_over_256(const std::byte* p) {
  const int8x16_t q = vreinterpretq_s8_u8(load16(p));
  const auto part = [](int16x8_t wide) {
    const int16x8_t exponent = vdupq_n_s16(0x3f80);
    const int16x8_t bits = vandq_s16(vshlq_n_s16(wide, 7), vdupq_n_s16(static_cast<short>(0xbf80)));
    const uint16x8_t nan = vceqq_s16(vandq_s16(bits, exponent), exponent);
    return vreinterpretq_f16_u16(vorrq_u16(vreinterpretq_u16_s16(bits), nan));
  };
  const float16x8_t low = part(vmovl_s8(vget_low_s8(q))), high = part(vmovl_high_s8(q));
  return {{vcvt_f32_f16(vget_low_f16(low)), vcvt_high_f32_f16(low),
           vcvt_f32_f16(vget_low_f16(high)), vcvt_high_f32_f16(high)}};
}
TERN_WORD Lanes broadcast_f16(const std::byte* p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof bits);
  const float32x4_t v = vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits)));
  return {{v, v, v, v}};
}

/// The bytes of sixteen floats, for TBL.
TERN_WORD uint8x16x4_t bytes_of(Table table) {
  return {{vreinterpretq_u8_f32(table.v[0]), vreinterpretq_u8_f32(table.v[1]),
           vreinterpretq_u8_f32(table.v[2]), vreinterpretq_u8_f32(table.v[3])}};
}
/// The four bytes of float index & mask in each lane.
TERN_WORD uint8x16_t bytes_at(uint32x4_t index, std::uint32_t mask) {
  const uint32x4_t first = vmulq_u32(vandq_u32(index, vdupq_n_u32(mask)), vdupq_n_u32(0x04040404));
  return vreinterpretq_u8_u32(vaddq_u32(first, vdupq_n_u32(0x03020100)));
}
TERN_WORD Lanes lookup(Table table, Ints index) {
  const uint8x16x4_t bytes = bytes_of(table);
  return each(
      [&](int i) { return vreinterpretq_f32_u8(vqtbl4q_u8(bytes, bytes_at(index.v[i], 15))); });
}
TERN_WORD Lanes lookup(Table low, Table high, Ints index) {
  const uint8x16x4_t first = bytes_of(low), last = bytes_of(high);
  return each([&](int i) {
    const uint8x16_t at = bytes_at(index.v[i], 31);  // beyond 63 the first look-up gives 0
    const uint8x16_t v = vqtbl4q_u8(first, at);
    return vreinterpretq_f32_u8(vqtbx4q_u8(v, last, vsubq_u8(at, vdupq_n_u8(64))));
  });
}

/// Where codes 4 i to 4 i + 3 of a bit stream are: bytes, and how far to shift them.
template <int bits>
struct Quads {
  alignas(16) std::uint8_t bytes[4][16];
  alignas(16) std::int32_t shifts[4][4];
};
template <int bits>
inline constexpr Quads<bits> kQuads = [] {
  Quads<bits> quads{};
  for (unsigned lane = 0; lane < 16; ++lane) {
    const unsigned bit = lane * bits;
    for (unsigned b = 0; b < 4; ++b)  // a code lies in a byte and the next; 255 gives 0
      quads.bytes[lane / 4][lane % 4 * 4 + b] =
          static_cast<std::uint8_t>(b < 2 ? bit / 8 + b : 255);
    quads.shifts[lane / 4][lane % 4] = -static_cast<std::int32_t>(bit % 8);
  }
  return quads;
}();
template <int bits>
TERN_WORD Ints unpack(const std::byte* p) {
  if constexpr (bits == 8) {
    return widen_u8(p);
  } else {
    std::uint8_t stream[16] = {};
    std::memcpy(stream, p, 2 * bits);
    const uint8x16_t v = vld1q_u8(stream);
    return each_int([&](int i) {
      const uint8x16_t pair = vqtbl1q_u8(v, vld1q_u8(kQuads<bits>.bytes[i]));
      return vshlq_u32(vreinterpretq_u32_u8(pair), vld1q_s32(kQuads<bits>.shifts[i]));
    });
  }
}

}  // namespace tern::quant::neon
#undef TERN_WORD
#endif
