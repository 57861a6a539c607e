// bf16, f16 and the 8- and 4-bit floats of the MX and NV formats, as functions on their bits.
#pragma once
#include <bit>
#include <cstdint>

namespace tern {

/// Upper half of a binary32.
inline float bf16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

/// Round to nearest, ties to even; NaN stays NaN.
inline std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// IEEE binary16, subnormals, infinities and NaN included. Branch-light so that loops vectorise.
inline float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16;
  const std::uint32_t magnitude = bits & 0x7fffu;
  // Normal numbers: move the exponent by 112; the product makes subnormals exact as well.
  const float scaled =
      std::bit_cast<float>(magnitude << 13) * std::bit_cast<float>(std::uint32_t{239} << 23);
  std::uint32_t out = std::bit_cast<std::uint32_t>(scaled);
  if (magnitude >= 0x7c00u) out = 0x7f800000u | ((magnitude & 0x3ffu) << 13);
  return std::bit_cast<float>(sign | out);
}

/// Round to nearest, ties to even; overflow becomes infinity.
inline std::uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // subnormal: let the addition round
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(sum) - 0x3f000000u));
  }
  const std::uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | (rounded >> 13));
}

/// Power of two 2^(bits-127); bits 0 is 2^-127, 255 is NaN (OCP MX, E8M0).
inline float e8m0_to_float(std::uint8_t bits) {
  if (bits == 0) return std::bit_cast<float>(std::uint32_t{0x00400000});
  if (bits == 255) return std::bit_cast<float>(std::uint32_t{0x7fc00000});
  return std::bit_cast<float>(std::uint32_t{bits} << 23);
}

/// OCP FP8 E4M3: bias 7, no infinity, NaN at 0x7f and 0xff, largest 448.
inline float e4m3_to_float(std::uint8_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x80u} << 24;
  const std::uint32_t magnitude = bits & 0x7fu;
  if (magnitude == 0x7f) return std::bit_cast<float>(sign | 0x7fc00000u);
  const float value =
      std::bit_cast<float>(magnitude << 20) * std::bit_cast<float>(std::uint32_t{247} << 23);
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

/// OCP FP4 E2M1 by code: 0 .5 1 1.5 2 3 4 6 and the same negated.
inline constexpr float kE2m1[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

}  // namespace tern
