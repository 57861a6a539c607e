#include "quant/kv_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "quant/random.h"
#include "tensor/half.h"

namespace tern::quant {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<KvScheme> coded_schemes() {
  std::vector<KvScheme> schemes;
  for (std::size_t i = 3; i < kKvSchemes; ++i) schemes.push_back(static_cast<KvScheme>(i));
  return schemes;
}

KvCodec make(KvScheme scheme, std::size_t dim = 128, KvScale scale = KvScale::norm) {
  auto codec = KvCodec::create(scheme, dim, 1, scale);
  EXPECT_TRUE(codec.has_value());
  return *codec;
}

struct Coded {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales, biases;
  bool operator==(const Coded&) const = default;
};

Coded encode(const KvCodec& codec, std::span<const float> x) {
  Coded out{std::vector<std::uint8_t>(codec.dim()), std::vector<std::uint16_t>(codec.scales()),
            std::vector<std::uint16_t>(codec.has_bias() ? codec.scales() : 0)};
  codec.encode(x, out.codes, out.scales, out.biases);
  return out;
}

std::vector<float> decode(const KvCodec& codec, const Coded& coded) {
  std::vector<float> x(codec.dim());
  codec.decode(coded.codes, coded.scales, coded.biases, x);
  return x;
}

std::vector<float> gaussian_vector(Random& random, std::size_t dim) {
  std::vector<float> x(dim);
  for (float& value : x) value = static_cast<float>(random.normal());
  return x;
}

/// E |x - x'|^2 / E |x|^2
double relative_error(const KvCodec& codec, std::size_t vectors = 4000) {
  Random random(99);
  double error = 0, square = 0;
  for (std::size_t v = 0; v < vectors; ++v) {
    const std::vector<float> x = gaussian_vector(random, codec.dim());
    const std::vector<float> decoded = decode(codec, encode(codec, x));
    for (std::size_t i = 0; i < x.size(); ++i) {
      error += std::pow(x[i] - decoded[i], 2);
      square += std::pow(x[i], 2);
    }
  }
  return error / square;
}

TEST(KvCodec, KnowsItsSchemesByName) {
  for (std::size_t i = 0; i < kKvSchemes; ++i) {
    const auto scheme = static_cast<KvScheme>(i);
    EXPECT_EQ(kv_scheme(name(scheme)), scheme);
  }
  EXPECT_EQ(kv_scheme("turbo9"), std::nullopt);
}

TEST(KvCodec, TakesTheBytesOfTheFormula) {
  const auto bytes = [](KvScheme scheme) { return make(scheme).vector_bytes(); };
  EXPECT_EQ(bytes(KvScheme::f32), 512u);
  EXPECT_EQ(bytes(KvScheme::f16), 256u);
  EXPECT_EQ(bytes(KvScheme::bf16), 256u);
  EXPECT_EQ(bytes(KvScheme::q8_0), 136u);
  EXPECT_EQ(bytes(KvScheme::q4_0), 72u);
  EXPECT_EQ(bytes(KvScheme::affine8), 136u);
  EXPECT_EQ(bytes(KvScheme::affine4), 72u);
  EXPECT_EQ(bytes(KvScheme::turbo2), 34u);
  EXPECT_EQ(bytes(KvScheme::turbo2_5), 42u);
  EXPECT_EQ(bytes(KvScheme::turbo3), 50u);
  EXPECT_EQ(bytes(KvScheme::turbo3_5), 58u);
  EXPECT_EQ(bytes(KvScheme::turbo4), 66u);
  EXPECT_EQ(bytes(KvScheme::planar3), 50u);
  EXPECT_EQ(bytes(KvScheme::planar4), 66u);
  EXPECT_EQ(bytes(KvScheme::iso3), 50u);
  EXPECT_EQ(bytes(KvScheme::iso4), 66u);
}

TEST(KvCodec, HasRunsThatCoverTheVector) {
  for (const KvScheme scheme : coded_schemes()) {
    const KvCodec codec = make(scheme);
    std::size_t next = 0;
    for (const KvRun& run : codec.runs()) {
      EXPECT_EQ(run.first, next);
      EXPECT_EQ(run.levels.size(), std::size_t{1} << run.bits);
      next += run.count;
    }
    EXPECT_EQ(next, codec.dim());
  }
  EXPECT_TRUE(make(KvScheme::f16).plain());
}

TEST(KvCodec, RefusesDimensionsThatItCannotHold) {
  for (const auto& [scheme, dim] :
       std::vector<std::pair<KvScheme, std::size_t>>{{KvScheme::turbo4, 0},
                                                     {KvScheme::turbo4, 100},
                                                     {KvScheme::turbo3_5, 96},
                                                     {KvScheme::affine4, 96},
                                                     {KvScheme::q8_0, 48},
                                                     {KvScheme::turbo4, KvCodec::kMaxDim + 32}}) {
    const auto codec = KvCodec::create(scheme, dim);
    ASSERT_FALSE(codec.has_value()) << name(scheme) << " " << dim;
    EXPECT_EQ(codec.error().code, ErrorCode::unsupported);
    EXPECT_NE(codec.error().what.find(std::to_string(dim)), std::string::npos);
  }
  EXPECT_TRUE(KvCodec::create(KvScheme::turbo4, 1536).has_value());
  EXPECT_TRUE(KvCodec::create(KvScheme::turbo4, 96).has_value());
}

TEST(KvCodec, HasTheErrorOfTheTheoryOnGaussianVectors) {
  const auto expect = [](KvScheme scheme, KvScale scale, double expected, double tolerance) {
    EXPECT_NEAR(relative_error(make(scheme, 128, scale)) / expected, 1, tolerance) << name(scheme);
  };
  expect(KvScheme::turbo2, KvScale::least_squares, 0.1155, 0.02);
  expect(KvScheme::turbo3, KvScale::least_squares, 0.0340, 0.02);
  expect(KvScheme::turbo4, KvScale::least_squares, 0.00921, 0.02);
  expect(KvScheme::turbo4, KvScale::norm, 0.00923, 0.02);
  expect(KvScheme::turbo3_5, KvScale::norm, (0.0340 + 0.00932) / 2, 0.03);
  expect(KvScheme::turbo2_5, KvScale::norm, (0.1160 + 0.0340) / 2, 0.03);
  for (const KvScheme scheme : {KvScheme::planar3, KvScheme::iso3})
    expect(scheme, KvScale::norm, 0.0339, 0.02);
  for (const KvScheme scheme : {KvScheme::planar4, KvScheme::iso4})
    expect(scheme, KvScale::norm, 0.0092, 0.02);
  expect(KvScheme::q4_0, KvScale::norm, 0.00739, 0.02);
  expect(KvScheme::q8_0, KvScale::norm, 0.000029, 0.05);
  expect(KvScheme::affine4, KvScale::norm, 0.00830, 0.02);
}

TEST(KvCodec, SearchedScalesAreBetter) {
  EXPECT_NEAR(relative_error(make(KvScheme::turbo4, 128, KvScale::searched), 1000), 0.00777, 2e-4);
  EXPECT_NEAR(relative_error(make(KvScheme::turbo3, 128, KvScale::searched), 1000), 0.0316, 6e-4);
  EXPECT_NEAR(relative_error(make(KvScheme::turbo2, 128, KvScale::searched), 1000), 0.1142, 2e-3);
}

TEST(KvCodec, KeepsTheNormOfTheVector) {
  Random random(4);
  for (const KvScheme scheme : {KvScheme::turbo2, KvScheme::turbo3, KvScheme::turbo4}) {
    const KvCodec codec = make(scheme);
    const std::vector<float> x = gaussian_vector(random, 128), y = decode(codec, encode(codec, x));
    double before = 0, after = 0;
    for (std::size_t i = 0; i < 128; ++i) {
      before += x[i] * x[i];
      after += y[i] * y[i];
    }
    EXPECT_NEAR(std::sqrt(after / before), 1, 0x1p-11);  // f16's half unit in the last place
  }
}

TEST(KvCodec, DecodesInTheRotatedBasisWithoutTheInverseRotation) {
  Random random(5);
  for (const KvScheme scheme : coded_schemes()) {
    const KvCodec codec = make(scheme);
    const Coded coded = encode(codec, gaussian_vector(random, 128));
    std::vector<float> r(128);
    codec.decode_rotated(coded.codes, coded.scales, coded.biases, r);
    codec.rotation().inverse(r);
    EXPECT_EQ(r, decode(codec, coded)) << name(scheme);
  }
}

TEST(KvCodec, StoresZerosAsZeros) {
  for (const KvScheme scheme : coded_schemes()) {
    const KvCodec codec = make(scheme);
    for (const float tiny : {0.0f, -0.0f, 1e-12f, 1e-38f}) {
      const std::vector<float> y = decode(codec, encode(codec, std::vector<float>(128, tiny)));
      for (const float value : y) EXPECT_NEAR(value, 0, 1e-7f) << name(scheme);
    }
  }
}

TEST(KvCodec, StoresNanAsZeroAndInfinityAsTheGreatestOfF16) {
  Random random(6);
  for (const KvScheme scheme : coded_schemes()) {
    const KvCodec codec = make(scheme);
    std::vector<float> bad = gaussian_vector(random, 128);
    bad[3] = kNan;
    bad[70] = kInfinity;
    bad[71] = -1e30f;
    std::vector<float> good = bad;
    good[3] = 0;
    good[70] = 65504;
    good[71] = -65504;
    EXPECT_EQ(encode(codec, bad), encode(codec, good)) << name(scheme);
    for (const float value : decode(codec, encode(codec, bad))) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(KvCodec, SaturatesWhereTheScaleLeavesF16) {
  for (const KvScheme scheme : coded_schemes()) {
    for (const KvScale scale : {KvScale::norm, KvScale::least_squares, KvScale::searched}) {
      const KvCodec codec = make(scheme, 128, scale);
      std::vector<float> x(128);
      for (std::size_t i = 0; i < 128; ++i) x[i] = i % 3 == 0 ? -kInfinity : kInfinity;
      const std::vector<float> y = decode(codec, encode(codec, x));
      for (std::size_t i = 0; i < 128; ++i) {
        EXPECT_TRUE(std::isfinite(y[i]));
        if (scheme == KvScheme::q8_0) {
          EXPECT_NEAR(y[i], i % 3 == 0 ? -65504 : 65504, 40);
        }
      }
    }
  }
}

TEST(KvCodec, HoldsAHugeOutlierBesideSmallValues) {
  Random random(8);
  for (const KvScheme scheme : {KvScheme::turbo3, KvScheme::turbo4}) {
    const KvCodec codec = make(scheme);
    std::vector<float> x = gaussian_vector(random, 128);
    x[17] = 3000;
    const std::vector<float> y = decode(codec, encode(codec, x));
    EXPECT_NEAR(y[17] / x[17], 1, 0.05);  // all rotated coordinates are near +-|x| / sqrt(128)
  }
}

}  // namespace
}  // namespace tern::quant
