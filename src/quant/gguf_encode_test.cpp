#include "quant/gguf_encode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "quant/formats.h"
#include "quant/matrix.h"

namespace tern::quant {
namespace {

constexpr DType kBlockTypes[] = {
    DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1,   DType::q8_0,   DType::q2_k, DType::q3_k,
    DType::q4_k, DType::q5_k, DType::q6_k, DType::iq4_nl, DType::iq4_xs, DType::mxfp4};

struct Coded {
  std::vector<float> decoded;
  double error = 0;  ///< as the encoder says
};

Coded round_trip(DType type, std::span<const float> row, std::span<const float> importance = {},
                 GgufFit fit = GgufFit::searched) {
  std::vector<std::byte> bytes(*checked_row_bytes(type, row.size()));
  Coded coded;
  coded.error = encode_gguf_row(type, row, importance, fit, bytes);
  const Tensor tensor{"w", type, {1, row.size()}, bytes};
  const auto matrix = matrix_of(tensor);
  EXPECT_TRUE(matrix) << matrix.error().message();
  coded.decoded.resize(row.size());
  row_decoder(*matrix, Isa::scalar)(*matrix, 0, coded.decoded);
  return coded;
}

double squared_error(std::span<const float> a, std::span<const float> b,
                     std::span<const float> w = {}) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += std::pow(double{a[i]} - double{b[i]}, 2) * (w.empty() ? 1.0 : double{w[i]});
  return sum;
}

double relative_error(std::span<const float> row, std::span<const float> decoded) {
  const std::vector<float> zero(row.size());
  return squared_error(row, decoded) / squared_error(row, zero);
}

template <class Distribution>
std::vector<float> draw(Distribution distribution, std::size_t n, std::uint64_t seed = 3) {
  std::mt19937_64 random(seed);
  std::vector<float> w(n);
  for (float& value : w) value = 0.02f * static_cast<float>(distribution(random));
  return w;
}

std::vector<float> normal(std::size_t n, std::uint64_t seed = 3) {
  return draw(std::normal_distribution<double>(), n, seed);
}

class GgufEncode : public testing::TestWithParam<DType> {};

TEST_P(GgufEncode, SaysTheErrorOfWhatIsDecoded) {
  for (const auto& row : {normal(2560), draw(std::student_t_distribution<double>(4), 2560)}) {
    const Coded coded = round_trip(GetParam(), row);
    const double error = squared_error(row, coded.decoded);
    EXPECT_NEAR(coded.error / error, 1, 1e-4);
  }
}

/// Of normal weights; what a coder that has forgotten a part of its search does not reach.
double known_error(DType type) {
  static const std::map<DType, double> kKnown = {
      {DType::q4_0, .00654},  {DType::q4_1, .00476},   {DType::q5_0, .001595},
      {DType::q5_1, .001113}, {DType::q8_0, .0000247}, {DType::q2_k, .0672},
      {DType::q3_k, .0206},   {DType::q4_k, .00482},   {DType::q5_k, .00118},
      {DType::q6_k, .000283}, {DType::iq4_nl, .00536}, {DType::iq4_xs, .00544},
      {DType::mxfp4, .01241}};
  return kKnown.at(type);
}

TEST_P(GgufEncode, HasTheErrorThatItsSearchIsKnownFor) {
  const auto row = normal(256 * 400);
  EXPECT_NEAR(relative_error(row, round_trip(GetParam(), row).decoded) / known_error(GetParam()), 1,
              0.02);
}

TEST_P(GgufEncode, LosesLittleOfWhatItHasWrittenItself) {
  const auto once = round_trip(GetParam(), normal(1024)).decoded;
  EXPECT_LT(relative_error(once, round_trip(GetParam(), once).decoded),
            0.2 * known_error(GetParam()));
}

TEST_P(GgufEncode, SpendsItsErrorWhereColumnsDoNotMatter) {
  const std::size_t n = 256 * 40;
  const auto row = normal(n);
  std::vector<float> importance(n);
  std::mt19937_64 random(5);
  for (float& value : importance) value = random() % 8 == 0 ? 100.0f : 0.5f;
  const auto plain = round_trip(GetParam(), row).decoded;
  const auto weighted = round_trip(GetParam(), row, importance).decoded;
  const double ratio =
      squared_error(row, weighted, importance) / squared_error(row, plain, importance);
  EXPECT_LT(ratio, GetParam() == DType::mxfp4 ? 0.98 : 0.9);
  EXPECT_GT(squared_error(row, weighted), squared_error(row, plain));
}

TEST_P(GgufEncode, KeepsZeroAndSurvivesWhatIsStrange) {
  std::vector<float> row(256 * 6);
  std::fill_n(row.begin() + 256, 256, 1e-38f);
  row[512 + 7] = 1000;
  for (std::size_t i = 0; i < 256; ++i) row[768 + i] = i % 2 == 0 ? 1e30f : -1e30f;
  for (std::size_t i = 0; i < 256; ++i) row[1024 + i] = 0.5f;
  for (std::size_t i = 0; i < 256; ++i) row[1280 + i] = -3.0f - 0.001f * static_cast<float>(i);
  const std::vector<float> unused(row.size());
  for (const auto& importance : {std::vector<float>(), unused}) {
    const auto decoded = round_trip(GetParam(), row, importance).decoded;
    for (std::size_t i = 0; i < row.size(); ++i)
      ASSERT_TRUE(std::isfinite(decoded[i])) << i << " of " << row[i];
    EXPECT_TRUE(std::ranges::all_of(std::span(decoded).first(512),
                                    [](float v) { return std::abs(v) < 2e-38f; }));
    EXPECT_NEAR(decoded[512 + 7], 1000, 40);
    for (std::size_t i = 1024; i < 1280; ++i) EXPECT_NEAR(decoded[i], 0.5f, 0.01f);
    for (std::size_t i = 1280; i < 1536; ++i) EXPECT_NEAR(decoded[i], row[i], 0.4f);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, GgufEncode, testing::ValuesIn(kBlockTypes),
                         [](const auto& type) { return std::string(name(type.param)); });

TEST(GgufEncodeReference, IsWorseThanTheSearch) {
  const auto row = draw(std::student_t_distribution<double>(5), 256 * 100);
  for (const DType type : kBlockTypes) {
    if (!can_encode_gguf(type, GgufFit::reference)) continue;
    const double searched = round_trip(type, row).error;
    const double reference = round_trip(type, row, {}, GgufFit::reference).error;
    EXPECT_LT(searched, 0.97 * reference) << name(type);
  }
}

TEST(GgufEncodePlain, RoundsToTheNearest) {
  const std::vector<float> row = {1.0f, 1.00390625f, -3.0f, 65504.0f, 1e-8f};
  EXPECT_EQ(round_trip(DType::f32, row).decoded, row);
  EXPECT_EQ(round_trip(DType::bf16, row).decoded[1], 1.0f) << "a tie, to even";
  EXPECT_EQ(round_trip(DType::f16, row).decoded[1], 1.00390625f);
  EXPECT_EQ(round_trip(DType::f16, row).decoded[4], 0.0f);
}

TEST(GgufEncodeTypes, AreAllThatMayHoldWeights) {
  for (const DType type : kBlockTypes) EXPECT_TRUE(can_encode_gguf(type)) << name(type);
  EXPECT_FALSE(can_encode_gguf(DType::u32));
  EXPECT_FALSE(can_encode_gguf(DType::q4_k, GgufFit::reference));
}

}  // namespace
}  // namespace tern::quant
