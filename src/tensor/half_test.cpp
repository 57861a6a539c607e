#include "tensor/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tern {
namespace {

/// The value of a small float by its definition: sign, `exponent` bits, `mantissa` bits.
double by_definition(unsigned bits, int exponent, int mantissa, int bias) {
  const unsigned fraction = bits & ((1u << mantissa) - 1);
  const unsigned power = (bits >> mantissa) & ((1u << exponent) - 1);
  const double sign = (bits >> (mantissa + exponent)) != 0 ? -1 : 1;
  if (power == 0) return sign * std::ldexp(fraction, 1 - bias - mantissa);
  return sign * std::ldexp((1u << mantissa) + fraction, static_cast<int>(power) - bias - mantissa);
}

bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

TEST(F16, EveryCodeHasItsValueAndComesBack) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = f16_to_float(static_cast<std::uint16_t>(bits));
    if ((bits & 0x7c00) == 0x7c00) {
      EXPECT_EQ(std::isnan(value), (bits & 0x3ff) != 0) << bits;
      EXPECT_EQ(std::isinf(value), (bits & 0x3ff) == 0) << bits;
      EXPECT_EQ(std::signbit(value), bits >= 0x8000) << bits;
    } else {
      ASSERT_TRUE(same(value, static_cast<float>(by_definition(bits, 5, 10, 15)))) << bits;
    }
    const std::uint16_t back = float_to_f16(value);
    if (std::isnan(value))
      EXPECT_TRUE((back & 0x7c00) == 0x7c00 && (back & 0x3ff) != 0) << bits;
    else
      ASSERT_EQ(back, bits);
  }
}

TEST(F16, RoundsToNearestAndTiesToEven) {
  for (unsigned bits = 0; bits < 0x7bff; ++bits) {  // every finite pair of neighbours
    const float low = f16_to_float(static_cast<std::uint16_t>(bits));
    const float high = f16_to_float(static_cast<std::uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact
    const unsigned even = bits % 2 == 0 ? bits : bits + 1;
    for (const float sign : {1.0f, -1.0f}) {
      const unsigned top = sign < 0 ? 0x8000 : 0;
      ASSERT_EQ(float_to_f16(sign * middle), top | even) << bits;
      ASSERT_EQ(float_to_f16(sign * std::nextafterf(middle, 0)), top | bits) << bits;
      ASSERT_EQ(float_to_f16(sign * std::nextafterf(middle, 1e9f)), top | (bits + 1)) << bits;
    }
  }
}

TEST(F16, OverflowsToInfinityFromTheMiddleOfTheLastStep) {
  EXPECT_EQ(float_to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(float_to_f16(std::nextafterf(65520.0f, 0)), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(float_to_f16(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(float_to_f16(-std::numeric_limits<float>::denorm_min()), 0x8000);
}

TEST(Bf16, EveryCodeHasItsValueAndComesBack) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float value = bf16_to_float(static_cast<std::uint16_t>(bits));
    if ((bits & 0x7f80) != 0x7f80) {
      ASSERT_TRUE(same(value, static_cast<float>(by_definition(bits, 8, 7, 127)))) << bits;
    }
    const std::uint16_t back = float_to_bf16(value);
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(bf16_to_float(back))) << bits;
    else
      ASSERT_EQ(back, bits);
  }
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  for (unsigned bits = 0; bits < 0x7f80; ++bits) {
    const unsigned even = bits % 2 == 0 ? bits : bits + 1;
    const auto with_rest = [&](unsigned rest) {
      return float_to_bf16(std::bit_cast<float>((bits << 16) | rest));
    };
    ASSERT_EQ(with_rest(0x7fff), bits);
    ASSERT_EQ(with_rest(0x8000), even);
    ASSERT_EQ(with_rest(0x8001), bits + 1);
  }
}

TEST(Bf16, ANanWhoseHighBitsAreZeroStaysANan) {
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0xffffffffu)))));
}

TEST(E8m0, IsAPowerOfTwo) {
  for (unsigned bits = 0; bits < 255; ++bits)
    EXPECT_EQ(e8m0_to_float(static_cast<std::uint8_t>(bits)),
              std::ldexp(1.0f, static_cast<int>(bits) - 127))
        << bits;
  EXPECT_TRUE(std::isnan(e8m0_to_float(255)));
}

TEST(E4m3, EveryCodeHasItsValue) {
  for (unsigned bits = 0; bits < 256; ++bits) {
    const float value = e4m3_to_float(static_cast<std::uint8_t>(bits));
    if ((bits & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value)) << bits;
    } else {
      EXPECT_TRUE(same(value, static_cast<float>(by_definition(bits, 4, 3, 7)))) << bits;
    }
  }
  EXPECT_EQ(e4m3_to_float(0x7e), 448.0f);
}

TEST(E2m1, EveryCodeHasItsValue) {
  for (unsigned bits = 0; bits < 16; ++bits)
    EXPECT_TRUE(same(kE2m1[bits], static_cast<float>(by_definition(bits, 2, 1, 1)))) << bits;
}

}  // namespace
}  // namespace tern
