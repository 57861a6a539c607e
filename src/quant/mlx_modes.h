// What MLX's quantization modes and turboquant mean: codes in one tensor, a scale (and a bias) for
// each group of columns in others.
//
// The codes of a row are one little-endian bit stream: value i in bits [bits i, bits i + bits), so
// eight values fill exactly `bits` bytes whatever `bits` is. Compiled for every instruction set,
// as gguf_blocks.h. Oracle: the PyPI package mlx.
#pragma once
#include <array>

#include "quant/gguf_blocks.h"
#include "quant/matrix.h"
#include "quant/turbo_weights.h"

namespace tern::quant {

/// Eight codes of `bits` bits, from `bits` bytes.
template <std::size_t bits>
TERN_INLINE std::array<std::uint32_t, 8> unpack8(const std::byte* p) {
  std::uint64_t word = 0;
  std::memcpy(&word, p, bits);
  std::array<std::uint32_t, 8> codes;
  for (std::size_t i = 0; i < 8; ++i)
    codes[i] = static_cast<std::uint32_t>(word >> (bits * i)) & ((1u << bits) - 1);
  return codes;
}

// Types of scales and biases.
struct ScaleF32 {
  TERN_INLINE static float at(const std::byte* p, std::size_t i) {
    return std::bit_cast<float>(u32_at(p + 4 * i));
  }
};
struct ScaleF16 {
  TERN_INLINE static float at(const std::byte* p, std::size_t i) { return f16_at(p + 2 * i); }
};
struct ScaleBf16 {
  TERN_INLINE static float at(const std::byte* p, std::size_t i) {
    return bf16_to_float(u16_at(p + 2 * i));
  }
};

/// y = scale q + bias; the scale may be negative.
template <std::size_t bits, class Scale>
struct MlxAffine {
  TERN_INLINE static void decode(const std::byte* codes, const std::byte* scales,
                                 const std::byte* biases, std::size_t group, std::span<float> out) {
    for (std::size_t g = 0; g < out.size() / group; ++g) {
      const float scale = Scale::at(scales, g), bias = Scale::at(biases, g);
      float* y = out.data() + g * group;
      for (std::size_t i = 0; i < group; i += 8, codes += bits) {
        const auto q = unpack8<bits>(codes);
        // Codes have 8 bits at most; through int the compiler finds one conversion instruction.
        for (std::size_t j = 0; j < 8; ++j)
          y[i + j] = scale * static_cast<float>(static_cast<std::int32_t>(q[j])) + bias;
      }
    }
  }
};

/// y = scale E2M1(q), two codes a byte.
template <float (*scale_of)(std::uint8_t)>
struct MlxFp4 {
  TERN_INLINE static void decode(const std::byte* codes, const std::byte* scales, const std::byte*,
                                 std::size_t group, std::span<float> out) {
    for (std::size_t g = 0; g < out.size() / group; ++g) {
      const float scale = scale_of(byte_at(scales, g));
      float* y = out.data() + g * group;
      for (std::size_t i = 0; i < group; i += 2, ++codes) {
        const std::uint8_t q = byte_at(codes, 0);
        y[i] = scale * kE2m1[nibble(q, 0)];
        y[i + 1] = scale * kE2m1[nibble(q, 1)];
      }
    }
  }
};
using MlxMxfp4 = MlxFp4<e8m0_to_float>;
using MlxNvfp4 = MlxFp4<e4m3_to_float>;

/// y = 2^(scale - 127) E4M3(q)
struct MlxMxfp8 {
  TERN_INLINE static void decode(const std::byte* codes, const std::byte* scales, const std::byte*,
                                 std::size_t group, std::span<float> out) {
    for (std::size_t g = 0; g < out.size() / group; ++g) {
      const float scale = e8m0_to_float(byte_at(scales, g));
      float* y = out.data() + g * group;
      for (std::size_t i = 0; i < group; ++i, ++codes)
        y[i] = scale * e4m3_to_float(byte_at(codes, 0));
    }
  }
};

/// y = scale level(q), in the basis of rotated inputs; packed as MLX's codes.
template <std::size_t bits>
struct TurboWeights {
  TERN_INLINE static void decode(const std::byte* codes, const std::byte* scales, const std::byte*,
                                 std::size_t group, std::span<float> out) {
    const float* const levels = turbo_levels(bits);
    for (std::size_t g = 0; g < out.size() / group; ++g) {
      const float scale = f16_at(scales + 2 * g);
      float* y = out.data() + g * group;
      for (std::size_t i = 0; i < group; i += 8, codes += bits) {
        const auto q = unpack8<bits>(codes);
        for (std::size_t j = 0; j < 8; ++j) y[i + j] = scale * levels[q[j]];
      }
    }
  }
};

}  // namespace tern::quant
