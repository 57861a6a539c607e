#include "quant/turbo_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "quant/codebook.h"
#include "quant/matrix.h"
#include "quant/rotation.h"

namespace tern::quant {
namespace {

/// One coded row, decoded to the basis of the inputs.
std::vector<float> round_trip(std::span<const float> w, std::size_t bits) {
  const float* const signs = rht64_signs(7);
  std::vector<std::byte> codes(w.size() * bits / 8), scales(w.size() / 64 * 2);
  encode_turbo_row(w, bits, signs, codes, scales);
  const Matrix matrix{.scheme = Scheme::turboquant,
                      .rows = 1,
                      .cols = w.size(),
                      .codes = codes.data(),
                      .code_stride = codes.size(),
                      .bits = static_cast<std::uint32_t>(bits),
                      .group = 64,
                      .scales = scales.data(),
                      .scale_stride = scales.size(),
                      .scale_type = DType::f16,
                      .signs = signs};
  std::vector<float> row(w.size());
  row_decoder(matrix, Isa::scalar)(matrix, 0, row);
  unrotate_inputs(signs, row.data(), row.size());
  return row;
}

double relative_error(std::span<const float> w, std::size_t bits) {
  const std::vector<float> decoded = round_trip(w, bits);
  double error = 0, square = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    error += std::pow(w[i] - decoded[i], 2);
    square += std::pow(w[i], 2);
  }
  return error / square;
}

template <class Distribution>
std::vector<float> draw(Distribution distribution, std::size_t n = 64 * 2000) {
  std::mt19937_64 random(3);
  std::vector<float> w(n);
  for (float& value : w) value = 0.02f * static_cast<float>(distribution(random));
  return w;
}

template <std::size_t bits>
void expect_rounded_levels() {
  const std::vector<float>& exact = gaussian_codebook(bits).levels;
  for (std::size_t i = 0; i < 32; ++i) {
    const float level = exact[i % exact.size()];
    EXPECT_EQ(kTurboSteps<bits>[i], std::lround(512 * level)) << bits << " bits, level " << i;
    EXPECT_EQ(turbo_levels(bits)[i], std::round(512 * level) / 512);
  }
}
TEST(TurboWeights, LevelsAreThoseOfTheGaussianCodebookRounded) {
  expect_rounded_levels<2>();
  expect_rounded_levels<3>();
  expect_rounded_levels<4>();
  expect_rounded_levels<5>();
}

TEST(TurboWeights, ABlockTimes16BitActivationsFits32Bits) {
  for (const std::int64_t step : kTurboSteps<5>) EXPECT_LE(std::abs(step) * 32767 * 32, 0x7fffffff);
}

TEST(TurboWeights, HaveTheErrorOfASearchedScaleOnNormalWeights) {
  const auto w = draw(std::normal_distribution<double>());
  EXPECT_NEAR(relative_error(w, 2) / 0.1110, 1, 0.02);
  EXPECT_NEAR(relative_error(w, 3) / 0.0293, 1, 0.02);
  EXPECT_NEAR(relative_error(w, 4) / 0.00688, 1, 0.02);
  EXPECT_NEAR(relative_error(w, 5) / 0.00165, 1, 0.02);
}

TEST(TurboWeights, AreNoWorseWithHeavyTails) {
  const auto w = draw(std::student_t_distribution<double>(4));
  EXPECT_LT(relative_error(w, 2), 0.111);
  EXPECT_LT(relative_error(w, 3), 0.0293);
  EXPECT_LT(relative_error(w, 4), 0.00688);
  EXPECT_LT(relative_error(w, 5), 0.00165);
}

TEST(TurboWeights, HoldNumbersOfEverySize) {
  for (std::size_t bits = 2; bits <= 5; ++bits) {
    for (const float size : {1e-4f, 1.0f, 8000.0f}) {
      auto w = draw(std::normal_distribution<double>(), 640);
      for (float& value : w) value = std::clamp(value * 50, -1.0f, 1.0f) * size;
      EXPECT_LT(relative_error(w, bits), 0.15) << size;
    }
    for (const float tiny : {0.0f, -0.0f, 1e-30f, 1e-9f})
      for (const float decoded : round_trip(std::vector<float>(128, tiny), bits))
        EXPECT_NEAR(decoded, tiny, 1e-7f);
  }
}

TEST(TurboWeights, AreAppliedToRotatedInputs) {
  const auto w = draw(std::normal_distribution<double>(), 192);
  auto x = draw(std::uniform_real_distribution<double>(-1, 1), 192);
  const float* const signs = rht64_signs(7);
  const auto dot = [](std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
    return sum;
  };
  const double plain = dot(w, x);
  std::vector<float> rotated = w, input = x;
  rotate_inputs(signs, rotated.data(), 192);
  rotate_inputs(signs, input.data(), 192);
  EXPECT_NEAR(dot(rotated, input), plain, 1e-7);
  unrotate_inputs(signs, rotated.data(), 192);
  for (std::size_t i = 0; i < 192; ++i) EXPECT_NEAR(rotated[i], w[i], 1e-8);
}

TEST(TurboWeights, RotateEvery64InputsAsHadamardOf64) {
  const Rotation rotation = Rotation::make(RotationKind::hadamard, 64, 7);
  auto x = draw(std::normal_distribution<double>(), 192), y = x;
  for (std::size_t i = 0; i < 192; i += 64) rotation.forward(std::span(x).subspan(i, 64));
  rotate_inputs(rht64_signs(7), y.data(), 192);
  EXPECT_EQ(x, y);
}

}  // namespace
}  // namespace tern::quant
