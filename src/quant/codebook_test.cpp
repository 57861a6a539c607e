#include "quant/codebook.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace tern::quant {
namespace {

/// Positive half of a codebook as the literature gives it, and its distortion.
struct Known {
  std::size_t dim;  ///< 0: Gaussian
  unsigned bits;
  double distortion;  ///< for vectors of norm 1; 0 where none is given
  std::vector<double> levels;
};

const std::vector<Known> kKnown = {
    {0, 1, 0.363380228, {0.79788456}},
    {0, 2, 0.117481848, {0.45278003, 1.51041761}},
    {0, 3, 0.034547761, {0.24509418, 0.75600528, 1.34390928, 2.15194570}},
    {0,
     4,
     0.009501008,
     {0.12839503, 0.38804830, 0.65675912, 0.94234046, 1.25623120, 1.61804639, 2.06901723,
      2.73258957}},
    {0,
     5,
     0.002504668,
     {0.06588966, 0.19805183, 0.33137831, 0.46669952, 0.60493362, 0.74713570, 0.89456512,
      1.04878332, 1.21180438, 1.38634034, 1.57622808, 1.78723322, 2.02872840, 2.31773940,
      2.69111958, 3.26073249}},
    {0, 6, 0.000644240, {0.03340951, 0.10027829, 0.16729690, 0.23456699, 0.30219285, 0.37028265,
                         0.43894967, 0.50831378, 0.57850303, 0.64965558, 0.72192194, 0.79546766,
                         0.87047659, 0.94715494, 1.02573635, 1.10648824, 1.18972014, 1.27579449,
                         1.36514102, 1.45827637, 1.55583122, 1.65858890, 1.76754188, 1.88397724,
                         2.00961104, 2.14681022, 2.29898121, 2.47130480, 2.67227384, 2.91740679,
                         3.24043706, 3.74410127}},
    {128, 1, 0.360888594, {0.07066157}},
    {128, 2, 0.116000070, {0.03999160, 0.13304152}},
    {128, 3, 0.033965926, {0.02160431, 0.06658561, 0.11813977, 0.18839719}},
    {128,
     4,
     0.009314788,
     {0.01130250, 0.03415157, 0.05777230, 0.08282846, 0.11028837, 0.14180520, 0.18083596,
      0.23766383}},
    {128,
     5,
     0.002451460,
     {0.00579551, 0.01741911, 0.02914171, 0.04103389, 0.05317355, 0.06565010, 0.07857000,
      0.09206501, 0.10630462, 0.12151646, 0.13802162, 0.15630100, 0.17713355, 0.20192819,
      0.23371925, 0.28165640}},
    {64, 3, 0.033390834, {0.03046918, 0.09383226, 0.16616786, 0.26391393}},
    {64,
     4,
     0.009131518,
     {0.01591902, 0.04808978, 0.08131177, 0.11648675, 0.15492553, 0.19885614, 0.25291373,
      0.33079631}},
    {32,
     4,
     0.008773826,
     {0.02232929, 0.06742420, 0.11389602, 0.16291948, 0.21619001, 0.27656437, 0.34992452,
      0.45342820}},
    {96, 3, 0, {0.02492369, 0.07679550, 0.13616858, 0.21685293}},
    {256,
     4,
     0,
     {0.00800837, 0.02420088, 0.04094920, 0.05873211, 0.07824931, 0.10069801, 0.12858820,
      0.16941044}},
};

const Codebook& codebook(const Known& known) {
  return known.dim == 0 ? gaussian_codebook(known.bits) : sphere_codebook(known.dim, known.bits);
}

TEST(Codebook, HasTheLevelsAndDistortionsOfThePublishedTables) {
  for (const Known& known : kKnown) {
    const Codebook& made = codebook(known);
    SCOPED_TRACE("dim " + std::to_string(known.dim) + ", bits " + std::to_string(known.bits));
    const std::size_t half = known.levels.size();
    ASSERT_EQ(made.levels.size(), 2 * half);
    for (std::size_t i = 0; i < half; ++i) {
      // Eight decimals, and half a unit of float32 in the last place.
      const double tolerance = 0.6e-8 + known.levels[i] * 0x1p-24;
      EXPECT_NEAR(made.levels[half + i], known.levels[i], tolerance) << "level " << i;
      EXPECT_EQ(made.levels[half - 1 - i], -made.levels[half + i]);
    }
    if (known.distortion > 0) {
      EXPECT_NEAR(made.distortion, known.distortion, 0.6e-9);
    }
  }
}

TEST(Codebook, TendsToTheGaussianOneInHighDimensions) {
  for (unsigned bits = 1; bits <= kMaxCodebookBits; ++bits) {
    const Codebook &sphere = sphere_codebook(1536, bits), &gaussian = gaussian_codebook(bits);
    for (std::size_t i = 0; i < sphere.levels.size(); ++i)
      EXPECT_NEAR(sphere.levels[i] * std::sqrt(1536.0f), gaussian.levels[i], 0.01f);
    EXPECT_NEAR(sphere.distortion / gaussian.distortion, 1, 0.005);
  }
}

TEST(Codebook, ChoosesTheNearestLevelAndTheLowerOfTwo) {
  for (unsigned bits = 1; bits <= kMaxCodebookBits; ++bits) {
    const Codebook& made = sphere_codebook(128, bits);
    for (float x = -0.5f; x <= 0.5f; x += 0.00097f) {
      float best = std::numeric_limits<float>::infinity();
      for (const float level : made.levels) best = std::min(best, std::abs(x - level));
      EXPECT_NEAR(std::abs(x - made.levels[made.index(x)]), best, 1e-7f);
    }
    for (std::size_t i = 0; i < made.bounds.size(); ++i) {
      EXPECT_EQ(made.index(made.bounds[i]), i);
      EXPECT_EQ(made.index(std::nextafter(made.bounds[i], 1.0f)), i + 1);
    }
    EXPECT_EQ(made.index(std::numeric_limits<float>::quiet_NaN()), 0);
    EXPECT_EQ(made.index(std::numeric_limits<float>::infinity()), made.levels.size() - 1);
  }
}

TEST(Codebook, OfWholeNumbersLosesNextToNothing) {
  for (const std::size_t dim : {32u, 128u, 256u})
    for (const unsigned bits : {2u, 3u, 4u}) {
      const Codebook &whole = whole_codebook(dim, bits), &free = sphere_codebook(dim, bits);
      ASSERT_EQ(whole.levels.size(), free.levels.size());
      for (std::size_t i = 0; i < whole.levels.size(); ++i) {
        const float steps = whole.levels[i] / whole.step;
        EXPECT_NEAR(steps, std::round(steps), 1e-4) << dim << " " << bits;
        EXPECT_LE(std::abs(steps), 127.01f);
        EXPECT_EQ(whole.levels[i], -whole.levels[whole.levels.size() - 1 - i]);
        if (i > 0) {
          EXPECT_GT(whole.levels[i], whole.levels[i - 1]);
        }
      }
      EXPECT_GE(whole.distortion, free.distortion * (1 - 1e-12));
      EXPECT_LE(whole.distortion, free.distortion * 1.001) << dim << " " << bits;
    }
}

}  // namespace
}  // namespace tern::quant
