// What the block types of GGUF mean: for each, how one block of codes becomes floats.
//
// Plain loops, one for each type; they are compiled again for every instruction set, so they stay
// free of calls and the compiler vectorises them. The order of operations is part of the meaning:
// every product and sum below is rounded to float32 as written.
// Source: the block layouts of ggml; oracle: the PyPI package gguf.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"
#include "tensor/half.h"

namespace tern::quant {

static_assert(std::endian::native == std::endian::little, "the formats are read with memcpy");

#define TERN_INLINE [[gnu::always_inline]] inline

TERN_INLINE std::uint8_t byte_at(const std::byte* p, std::size_t i) {
  return std::to_integer<std::uint8_t>(p[i]);
}

TERN_INLINE std::uint16_t u16_at(const std::byte* p) {
  std::uint16_t value = 0;
  std::memcpy(&value, p, sizeof value);
  return value;
}

TERN_INLINE std::uint32_t u32_at(const std::byte* p) {
  std::uint32_t value = 0;
  std::memcpy(&value, p, sizeof value);
  return value;
}

TERN_INLINE float f16_at(const std::byte* p) {
  return f16_to_float(u16_at(p));
}

TERN_INLINE int nibble(std::uint8_t byte, int high) {
  return (byte >> (4 * high)) & 15;
}

/// IQ4's 16 levels, denser around zero.
inline constexpr std::int8_t kIq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                         1,    13,   25,  38,  53,  69,  89,  113};

/// Twice E2M1, as ggml keeps it: integers, and no negative zero.
inline constexpr std::int8_t kTwiceE2m1[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                               0, -1, -2, -3, -4, -6, -8, -12};

/// Number of values and bytes of a block type.
template <DType type, std::size_t values, std::size_t bytes>
struct BlockOf {
  static constexpr DType kType = type;
  static constexpr std::size_t kValues = values;
  static constexpr std::size_t kBytes = bytes;
};

// Plain numbers, as blocks of one value.

struct F32 : BlockOf<DType::f32, 1, 4> {
  TERN_INLINE static void decode(const std::byte* b, float* y) { std::memcpy(y, b, sizeof *y); }
};

struct F16 : BlockOf<DType::f16, 1, 2> {
  TERN_INLINE static void decode(const std::byte* b, float* y) { *y = f16_at(b); }
};

struct Bf16 : BlockOf<DType::bf16, 1, 2> {
  TERN_INLINE static void decode(const std::byte* b, float* y) { *y = bf16_to_float(u16_at(b)); }
};

// Blocks of 32: value j < 16 in the low nibble of byte j, value j + 16 in its high nibble.

/// d f16, qs[16]: y = d (q - 8)
struct Q4_0 : BlockOf<DType::q4_0, 32, 18> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b);
    for (std::size_t j = 0; j < 16; ++j) {
      const std::uint8_t q = byte_at(b, 2 + j);
      y[j] = d * static_cast<float>(nibble(q, 0) - 8);
      y[j + 16] = d * static_cast<float>(nibble(q, 1) - 8);
    }
  }
};

/// d f16, m f16, qs[16]: y = d q + m
struct Q4_1 : BlockOf<DType::q4_1, 32, 20> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b), m = f16_at(b + 2);
    for (std::size_t j = 0; j < 16; ++j) {
      const std::uint8_t q = byte_at(b, 4 + j);
      y[j] = d * static_cast<float>(nibble(q, 0)) + m;
      y[j + 16] = d * static_cast<float>(nibble(q, 1)) + m;
    }
  }
};

/// d f16, qh u32 (bit j: fifth bit of value j), qs[16]: y = d (q - 16)
struct Q5_0 : BlockOf<DType::q5_0, 32, 22> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b);
    const std::uint32_t qh = u32_at(b + 2);
    for (std::size_t j = 0; j < 16; ++j) {
      const std::uint8_t q = byte_at(b, 6 + j);
      const int high = static_cast<int>((qh >> j) & 1), high16 = static_cast<int>(qh >> (j + 16));
      y[j] = d * static_cast<float>((nibble(q, 0) | (high << 4)) - 16);
      y[j + 16] = d * static_cast<float>((nibble(q, 1) | ((high16 & 1) << 4)) - 16);
    }
  }
};

/// d f16, m f16, qh u32, qs[16]: y = d q + m
struct Q5_1 : BlockOf<DType::q5_1, 32, 24> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b), m = f16_at(b + 2);
    const std::uint32_t qh = u32_at(b + 4);
    for (std::size_t j = 0; j < 16; ++j) {
      const std::uint8_t q = byte_at(b, 8 + j);
      const int high = static_cast<int>((qh >> j) & 1), high16 = static_cast<int>(qh >> (j + 16));
      y[j] = d * static_cast<float>(nibble(q, 0) | (high << 4)) + m;
      y[j + 16] = d * static_cast<float>(nibble(q, 1) | ((high16 & 1) << 4)) + m;
    }
  }
};

/// d f16, i8 qs[32]: y = d q
struct Q8_0 : BlockOf<DType::q8_0, 32, 34> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b);
    for (std::size_t j = 0; j < 32; ++j)
      y[j] = d * static_cast<float>(static_cast<std::int8_t>(byte_at(b, 2 + j)));
  }
};

/// d f16, qs[16]: y = d T[q]
struct Iq4Nl : BlockOf<DType::iq4_nl, 32, 18> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b);
    for (std::size_t j = 0; j < 16; ++j) {
      const std::uint8_t q = byte_at(b, 2 + j);
      y[j] = d * static_cast<float>(kIq4[nibble(q, 0)]);
      y[j + 16] = d * static_cast<float>(kIq4[nibble(q, 1)]);
    }
  }
};

/// e u8, qs[16]: y = 2^(e-128) K[q], K twice E2M1. Exponents 0 and 1 make subnormal scales, and 255
/// is a number like the others.
struct Mxfp4 : BlockOf<DType::mxfp4, 32, 17> {
  TERN_INLINE static float scale(std::uint8_t e) {
    return std::bit_cast<float>(e < 2 ? std::uint32_t{0x00200000} << e : (e - 1u) << 23);
  }
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = scale(byte_at(b, 0));
    for (std::size_t j = 0; j < 16; ++j) {
      const std::uint8_t q = byte_at(b, 1 + j);
      y[j] = d * static_cast<float>(kTwiceE2m1[nibble(q, 0)]);
      y[j + 16] = d * static_cast<float>(kTwiceE2m1[nibble(q, 1)]);
    }
  }
};

// Super-blocks of 256. Sub-blocks have small integer scales of their own.

/// scales[16] (low nibble scale, high nibble minimum, of 16 values each), qs[64], d f16, dmin f16:
/// y = d sc q - dmin m
struct Q2K : BlockOf<DType::q2_k, 256, 84> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b + 80), dmin = f16_at(b + 82);
    for (std::size_t k = 0; k < 16; ++k) {  // 8 to each half of the block, 2 to each pair of bits
      const std::uint8_t scale = byte_at(b, k);
      const float dl = d * static_cast<float>(nibble(scale, 0));
      const float ml = dmin * static_cast<float>(nibble(scale, 1));
      const std::byte* qs = b + 16 + 32 * (k / 8) + 16 * (k % 2);
      const std::size_t shift = 2 * (k % 8 / 2);
      for (std::size_t l = 0; l < 16; ++l)
        y[16 * k + l] = dl * static_cast<float>((byte_at(qs, l) >> shift) & 3) - ml;
    }
  }
};

/// hmask[32], qs[64], scales[12] (16 of 6 bits), d f16: y = d (sc - 32) (q - 4 unless hmask)
struct Q3K : BlockOf<DType::q3_k, 256, 110> {
  /// Scale k: four low bits in bytes 0-7 (low nibbles first), two high bits in bytes 8-11.
  TERN_INLINE static int scale(const std::byte* scales, std::size_t k) {
    const int low = nibble(byte_at(scales, k % 8), k < 8 ? 0 : 1);
    const int high = (byte_at(scales, 8 + k % 4) >> (2 * (k / 4))) & 3;
    return (low | (high << 4)) - 32;
  }
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b + 108);
    for (std::size_t k = 0; k < 16; ++k) {
      const float dl = d * static_cast<float>(scale(b + 96, k));
      const std::byte* hmask = b + 16 * (k % 2);
      const std::byte* qs = b + 32 + 32 * (k / 8) + 16 * (k % 2);
      const std::size_t shift = 2 * (k % 8 / 2);
      for (std::size_t l = 0; l < 16; ++l) {
        const int low = (byte_at(qs, l) >> shift) & 3;
        const int high = (byte_at(hmask, l) >> (k / 2)) & 1;
        y[16 * k + l] = dl * static_cast<float>(low + 4 * high - 4);
      }
    }
  }
};

/// The scale and minimum of sub-block j < 8, 6 bits each, in 12 bytes.
struct ScaleMin {
  int scale, min;
  TERN_INLINE static ScaleMin at(const std::byte* s, std::size_t j) {
    if (j < 4) return {byte_at(s, j) & 63, byte_at(s, j + 4) & 63};
    const std::uint8_t low = byte_at(s, j + 4);
    return {nibble(low, 0) | ((byte_at(s, j - 4) >> 6) << 4),
            nibble(low, 1) | ((byte_at(s, j) >> 6) << 4)};
  }
};

/// d f16, dmin f16, scales[12], qs[128]: y = d sc q - dmin m
struct Q4K : BlockOf<DType::q4_k, 256, 144> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b), dmin = f16_at(b + 2);
    for (std::size_t j = 0; j < 8; ++j) {
      const auto [scale, min] = ScaleMin::at(b + 4, j);
      const float dl = d * static_cast<float>(scale), ml = dmin * static_cast<float>(min);
      const std::byte* qs = b + 16 + 32 * (j / 2);
      const std::size_t shift = 4 * (j % 2);
      for (std::size_t l = 0; l < 32; ++l)
        y[32 * j + l] = dl * static_cast<float>((byte_at(qs, l) >> shift) & 15) - ml;
    }
  }
};

/// d f16, dmin f16, scales[12], qh[32] (bit j of byte l: fifth bit of value l of sub-block j),
/// qs[128]: y = d sc q - dmin m
struct Q5K : BlockOf<DType::q5_k, 256, 176> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b), dmin = f16_at(b + 2);
    for (std::size_t j = 0; j < 8; ++j) {
      const auto [scale, min] = ScaleMin::at(b + 4, j);
      const float dl = d * static_cast<float>(scale), ml = dmin * static_cast<float>(min);
      const std::byte* qh = b + 16;
      const std::byte* qs = b + 48 + 32 * (j / 2);
      const std::size_t shift = 4 * (j % 2);
      for (std::size_t l = 0; l < 32; ++l) {
        const int low = (byte_at(qs, l) >> shift) & 15, high = (byte_at(qh, l) >> j) & 1;
        y[32 * j + l] = dl * static_cast<float>(low | (high << 4)) - ml;
      }
    }
  }
};

/// ql[128], qh[64], i8 scales[16], d f16: y = d sc (q - 32)
struct Q6K : BlockOf<DType::q6_k, 256, 210> {
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b + 208);
    for (std::size_t k = 0; k < 16; ++k) {  // a half has four runs of 32, each two sub-blocks
      const std::size_t half = k / 8, run = k % 8 / 2, first = 16 * (k % 2);
      const float dl = d * static_cast<float>(static_cast<std::int8_t>(byte_at(b, 192 + k)));
      const std::byte* ql = b + 64 * half + 32 * (run % 2) + first;
      const std::byte* qh = b + 128 + 32 * half + first;
      for (std::size_t l = 0; l < 16; ++l) {
        const int low = (byte_at(ql, l) >> (4 * (run / 2))) & 15;
        const int high = (byte_at(qh, l) >> (2 * run)) & 3;
        y[16 * k + l] = dl * static_cast<float>((low | (high << 4)) - 32);
      }
    }
  }
};

/// d f16, scales_h u16, scales_l[4], qs[128]: y = d (sc - 32) T[q]; within 32 as in IQ4_NL
struct Iq4Xs : BlockOf<DType::iq4_xs, 256, 136> {
  /// Scale j: four low bits in scales_l, two high bits in scales_h.
  TERN_INLINE static int scale(const std::byte* b, std::size_t j) {
    const int low = nibble(byte_at(b, 4 + j / 2), static_cast<int>(j % 2));
    const int high = (u16_at(b + 2) >> (2 * j)) & 3;
    return (low | (high << 4)) - 32;
  }
  TERN_INLINE static void decode(const std::byte* b, float* y) {
    const float d = f16_at(b);
    for (std::size_t j = 0; j < 8; ++j) {
      const float dl = d * static_cast<float>(scale(b, j));
      for (std::size_t l = 0; l < 16; ++l) {
        const std::uint8_t q = byte_at(b, 8 + 16 * j + l);
        y[32 * j + l] = dl * static_cast<float>(kIq4[nibble(q, 0)]);
        y[32 * j + l + 16] = dl * static_cast<float>(kIq4[nibble(q, 1)]);
      }
    }
  }
};

}  // namespace tern::quant
