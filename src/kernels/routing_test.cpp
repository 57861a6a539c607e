#include "kernels/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "kernels/guarded.h"

namespace tern::kernels {
namespace {

struct Choice {
  std::vector<std::uint32_t> experts;
  std::vector<float> weights;
};

Choice choose(const std::vector<float>& logits, const std::vector<float>& bias,
              const Routing& routing) {
  Choice out{std::vector<std::uint32_t>(routing.top_k), std::vector<float>(routing.top_k)};
  std::vector<float> scratch(2 * logits.size() + routing.n_group);
  route(logits, bias, routing, out.experts, out.weights, scratch);
  return out;
}

float sigmoid(float x) {
  return static_cast<float>(1 / (1 + std::exp(-double{x})));
}

TEST(Route, TakesTheLargestScoresAndNormalisesThem) {
  const auto c = choose({0, 2, 1, -1}, {0, 0, 0, 0},
                        {.top_k = 2, .norm_topk_prob = true, .routed_scaling_factor = 2.5f});
  EXPECT_EQ(c.experts, (std::vector<std::uint32_t>{1, 2}));
  const double sum = sigmoid(2) + sigmoid(1);
  EXPECT_NEAR(c.weights[0], 2.5 * sigmoid(2) / sum, 1e-6);
  EXPECT_NEAR(c.weights[1], 2.5 * sigmoid(1) / sum, 1e-6);
}

TEST(Route, LetsTheBiasSteerTheChoiceButNotTheWeight) {
  const auto c = choose({0, 2, 1, -1}, {0, -5, 0, 5}, {.top_k = 2, .norm_topk_prob = false});
  EXPECT_EQ(c.experts, (std::vector<std::uint32_t>{3, 2}));
  EXPECT_FLOAT_EQ(c.weights[0], sigmoid(-1));
  EXPECT_FLOAT_EQ(c.weights[1], sigmoid(1));
}

TEST(Route, ScalesWithoutNormalisingWhenToldTo) {
  const auto c =
      choose({3, 0}, {0, 0}, {.top_k = 1, .norm_topk_prob = false, .routed_scaling_factor = 2.0f});
  EXPECT_FLOAT_EQ(c.weights[0], 2 * sigmoid(3));
}

TEST(Route, OpensOnlyTheGroupsWithTheTwoBestExperts) {
  // Group 0 has the single best expert, group 1 the better pair.
  const auto c = choose({5, -5, -5, 2, 2, -5}, std::vector<float>(6), {.top_k = 2, .n_group = 2});
  EXPECT_EQ(c.experts, (std::vector<std::uint32_t>{3, 4}));
}

TEST(Route, NeverTakesAnExpertOfAClosedGroup) {
  // All scores are negative after the bias, where a closed group's 0 would win.
  const auto c = choose({1, 1, 0, 0}, std::vector<float>(4, -3.0f), {.top_k = 2, .n_group = 2});
  EXPECT_EQ(c.experts, (std::vector<std::uint32_t>{0, 1}));
}

TEST(Route, TakesTheFirstOfEqualOnes) {
  const auto c = choose({1, 1, 1, 1}, std::vector<float>(4), {.top_k = 3});
  EXPECT_EQ(c.experts, (std::vector<std::uint32_t>{0, 1, 2}));
}

TEST(Route, GivesDistinctExpertsInRangeEvenForNumbersThatAreNotFinite) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const auto& logits :
       {std::vector<float>(8, kNan), std::vector<float>(8, kInf), std::vector<float>(8, -kInf),
        std::vector<float>{kNan, 1, kNan, 2, -kInf, kInf, 0, kNan}})
    for (const std::size_t groups : std::initializer_list<std::size_t>{1, 2, 4}) {
      const auto c =
          choose(logits, std::vector<float>(8), {.top_k = 2, .n_group = groups, .topk_group = 1});
      for (const auto e : c.experts) EXPECT_LT(e, 8u);
      EXPECT_NE(c.experts[0], c.experts[1]);
    }
}

TEST(Route, AgreesWithASortOfAllScores) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    const auto logits = normal(128, seed), bias = normal(128, seed + 1000, 0.1f);
    const auto c = choose(logits, bias, {.top_k = 6});
    std::vector<std::uint32_t> order(128);
    for (std::uint32_t e = 0; e < 128; ++e) order[e] = e;
    std::ranges::sort(order, std::greater(),
                      [&](auto e) { return std::pair(sigmoid(logits[e]) + bias[e], ~e); });
    order.resize(6);
    EXPECT_EQ(c.experts, order);
  }
}

}  // namespace
}  // namespace tern::kernels
