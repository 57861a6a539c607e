// The sixteen floats of lanes.h on NEON: four registers. Included by lanes.h.
#pragma once
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#define TERN_TARGET_NEON  // NEON is in the baseline of the architecture

namespace tern::kernels::neon {

#define TERN_LANES __attribute__((always_inline)) inline

struct Lanes {
  float32x4_t v[4];
};

/// The four parts of a result.
template <class Part>
TERN_LANES Lanes each(const Part& part) {
  return {{part(0), part(1), part(2), part(3)}};
}

TERN_LANES Lanes load(const float* p) {
  return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
TERN_LANES void store(float* p, Lanes a) {
  vst1q_f32(p, a.v[0]);
  vst1q_f32(p + 4, a.v[1]);
  vst1q_f32(p + 8, a.v[2]);
  vst1q_f32(p + 12, a.v[3]);
}
TERN_LANES Lanes all(float x) {
  const float32x4_t v = vdupq_n_f32(x);
  return {{v, v, v, v}};
}

/// Selects the first n lanes. NEON has no masked loads: fewer than sixteen go through memory.
struct First {
  std::size_t n;
};
TERN_LANES First first(std::size_t n) {
  return {n};
}
TERN_LANES Lanes load(const float* p, First first) {
  if (first.n >= 16) return load(p);
  float padded[16] = {};
  std::memcpy(padded, p, first.n * sizeof(float));
  return load(padded);
}
TERN_LANES void store(float* p, Lanes a, First first) {
  if (first.n >= 16) return store(p, a);
  float values[16];
  store(values, a);
  std::memcpy(p, values, first.n * sizeof(float));
}

TERN_LANES Lanes operator+(Lanes a, Lanes b) {
  return each([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
TERN_LANES Lanes operator-(Lanes a, Lanes b) {
  return each([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
TERN_LANES Lanes operator*(Lanes a, Lanes b) {
  return each([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
TERN_LANES Lanes operator/(Lanes a, Lanes b) {
  return each([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
}
TERN_LANES Lanes fma(Lanes a, Lanes b, Lanes c) {
  return each([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
}
// Not vmaxq and vminq, which give NaN where either is: b, as x86 does.
TERN_LANES float32x4_t max4(float32x4_t a, float32x4_t b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}
TERN_LANES Lanes max(Lanes a, Lanes b) {
  return each([&](int i) { return max4(a.v[i], b.v[i]); });
}
TERN_LANES Lanes min(Lanes a, Lanes b) {
  return each([&](int i) { return vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
}
TERN_LANES Lanes round(Lanes a) {
  return each([&](int i) { return vrndnq_f32(a.v[i]); });
}
TERN_LANES Lanes floor(Lanes a) {
  return each([&](int i) { return vrndmq_f32(a.v[i]); });
}
TERN_LANES Lanes power_of_two(Lanes n) {
  return each([&](int i) {
    const int32x4_t biased = vaddq_s32(vcvtnq_s32_f32(n.v[i]), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
  });
}

/// The tree of avx2::sum: lanes i and i + 8, then i and i + 4, i + 2, i + 1.
TERN_LANES float sum(Lanes a) {
  const float32x4_t v4 = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
  const float32x2_t v2 = vadd_f32(vget_low_f32(v4), vget_high_f32(v4));
  return vget_lane_f32(v2, 0) + vget_lane_f32(v2, 1);
}
TERN_LANES float max_of(Lanes a) {
  return vmaxvq_f32(max4(max4(a.v[0], a.v[2]), max4(a.v[1], a.v[3])));
}

TERN_LANES Lanes load_f16(const std::uint16_t* p) {
  return each([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
TERN_LANES Lanes load_bf16(const std::uint16_t* p) {
  return each([&](int i) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)); });
}

struct Words {
  uint32x4_t v[4];
};
template <class Part>
TERN_LANES Words each_word(const Part& part) {
  return {{part(0), part(1), part(2), part(3)}};
}
TERN_LANES Words load_words(const std::byte* p) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(p);
  return each_word([&](int i) { return vreinterpretq_u32_u8(vld1q_u8(bytes + 16 * i)); });
}
TERN_LANES Words shift_right(Words w, unsigned n) {
  const int32x4_t left = vdupq_n_s32(-static_cast<int>(n));
  return each_word([&](int i) { return vshlq_u32(w.v[i], left); });
}
/// Like the other two it leaves other bits above the third.
TERN_LANES Words with_third_bit(Words low, Words third) {
  return each_word([&](int i) { return vsliq_n_u32(low.v[i], third.v[i], 2); });
}

/// The bytes of sixteen floats, for TBL.
using Table = uint8x16x4_t;
TERN_LANES Table load_table(const float* p) {
  return vld1q_u8_x4(reinterpret_cast<const std::uint8_t*>(p));
}
/// The four bytes of float w & mask in each lane.
TERN_LANES uint8x16_t bytes_of(uint32x4_t w, std::uint32_t mask) {
  const uint32x4_t first = vmulq_u32(vandq_u32(w, vdupq_n_u32(mask)), vdupq_n_u32(0x04040404));
  return vreinterpretq_u8_u32(vaddq_u32(first, vdupq_n_u32(0x03020100)));
}
TERN_LANES Lanes look_up16(Table table, Words w) {
  return each([&](int i) { return vreinterpretq_f32_u8(vqtbl4q_u8(table, bytes_of(w.v[i], 15))); });
}
TERN_LANES Lanes look_up8(Table table, Words w) {
  const uint8x16x2_t half = {{table.val[0], table.val[1]}};
  return each([&](int i) { return vreinterpretq_f32_u8(vqtbl2q_u8(half, bytes_of(w.v[i], 7))); });
}
TERN_LANES Lanes byte_to_float(Words w) {
  return each([&](int i) { return vcvtq_f32_u32(vandq_u32(w.v[i], vdupq_n_u32(0xff))); });
}

TERN_LANES void store_words(std::int32_t* p, Words w) {
  for (int i = 0; i < 4; ++i) vst1q_s32(p + 4 * i, vreinterpretq_s32_u32(w.v[i]));
}
TERN_LANES Words load_words(const std::int32_t* p) {
  return load_words(reinterpret_cast<const std::byte*>(p));
}
TERN_LANES Words all_words(std::int32_t w) {
  const uint32x4_t v = vreinterpretq_u32_s32(vdupq_n_s32(w));
  return {{v, v, v, v}};
}
TERN_LANES Words either(Words a, Words b) {
  return each_word([&](int i) { return vorrq_u32(a.v[i], b.v[i]); });
}
template <unsigned n>
TERN_LANES Words shift_left(Words w) {
  return each_word([&](int i) { return w.v[i] << n; });
}
template <unsigned n>
TERN_LANES Words bits(Words w, std::int32_t mask) {
  const uint32x4_t m = vreinterpretq_u32_s32(vdupq_n_s32(mask));
  return each_word([&](int i) { return vandq_u32(w.v[i] >> n, m); });
}

// Words as pairs of 16-bit integers: the lower half is the first of the pair.

TERN_LANES int16x8_t halves(uint32x4_t w) {
  return vreinterpretq_s16_u32(w);
}
TERN_LANES uint32x4_t word(int16x8_t v) {
  return vreinterpretq_u32_s16(v);
}
TERN_LANES Words zip_low(Words a, Words b) {
  return each_word([&](int i) { return vsliq_n_u32(a.v[i], b.v[i], 16); });
}
TERN_LANES Words zip_high(Words a, Words b) {
  return each_word([&](int i) { return vsriq_n_u32(b.v[i], a.v[i], 16); });
}
TERN_LANES Words lower_bytes(Words w) {
  return each_word([&](int i) { return word(vshrq_n_s16(vshlq_n_s16(halves(w.v[i]), 8), 8)); });
}
TERN_LANES Words upper_bytes(Words w) {
  return each_word([&](int i) { return word(vshrq_n_s16(halves(w.v[i]), 8)); });
}
TERN_LANES Words add_pairs(Words a, Words b) {
  return each_word([&](int i) { return word(vaddq_s16(halves(a.v[i]), halves(b.v[i]))); });
}
TERN_LANES Words dot_pairs(Words sum, Words a, Words b) {
  return each_word([&](int i) {
    const int16x8_t x = halves(a.v[i]), y = halves(b.v[i]);
    const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    const int32x4_t pairs = vpaddq_s32(low, vmull_high_s16(x, y));
    return vaddq_u32(sum.v[i], vreinterpretq_u32_s32(pairs));
  });
}
TERN_LANES Lanes to_float(Words w) {
  return each([&](int i) { return vcvtq_f32_s32(vreinterpretq_s32_u32(w.v[i])); });
}
TERN_LANES void store_rounded(std::int16_t* p, Lanes a) {
  for (int i = 0; i < 4; ++i) vst1_s16(p + 4 * i, vqmovn_s32(vcvtnq_s32_f32(a.v[i])));
}
/// Sixteen bytes to look up.
struct Bytes {
  int8x16_t v;
};
TERN_LANES Bytes load_bytes(const std::int8_t* p) {
  return {vld1q_s8(p)};
}
TERN_LANES Words look_up_bytes(Bytes table, Words w) {
  return each_word([&](int i) {
    return vreinterpretq_u32_s8(vqtbl1q_s8(table.v, vreinterpretq_u8_u32(w.v[i])));
  });
}

#undef TERN_LANES
}  // namespace tern::kernels::neon

#endif  // __aarch64__
