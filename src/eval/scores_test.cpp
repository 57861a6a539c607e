#include "eval/scores.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace tern::eval {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

TEST(Statistics, AMeanKnowsItsError) {
  const double values[] = {1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(mean(values).value, 2.5);
  // Sample variance 5/3, error of the mean sqrt(5/3/4).
  EXPECT_DOUBLE_EQ(mean(values).error, std::sqrt(5.0 / 12));
  EXPECT_EQ(mean({}).value, 0);
  EXPECT_EQ(mean(std::span(values).first(1)).error, 0);
}

TEST(Statistics, QuantilesLieBetweenTheirNeighbours) {
  const double sorted[] = {0, 10, 20, 30, 40};
  EXPECT_DOUBLE_EQ(quantile(sorted, 0), 0);
  EXPECT_DOUBLE_EQ(quantile(sorted, 0.5), 20);
  EXPECT_DOUBLE_EQ(quantile(sorted, 0.9), 36);
  EXPECT_DOUBLE_EQ(quantile(sorted, 1), 40);
  EXPECT_EQ(quantile({}, 0.5), 0);
}

TEST(Scores, TheLikelihoodIsThatOfASoftmax) {
  const float logits[] = {1.0f, 2.0f, 4.0f};
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(4.0);
  EXPECT_NEAR(negative_log_likelihood(logits, 1), std::log(sum) - 2, 1e-12);
}

TEST(Scores, ALargeLogitDoesNotOverflow) {
  const float logits[] = {1e30f, 0, -1e30f};
  EXPECT_EQ(negative_log_likelihood(logits, 0), 0);
  EXPECT_NEAR(negative_log_likelihood(logits, 1), 1e30, 1e23);
}

TEST(Scores, TheDivergenceFollowsItsDefinition) {
  const float base[] = {0.3f, -1.0f, 2.0f, 0.7f}, other[] = {0.1f, -0.5f, 1.5f, 3.0f};
  double p[4], q[4], p_sum = 0, q_sum = 0, expected = 0;
  for (int i = 0; i < 4; ++i) p_sum += p[i] = std::exp(double{base[i]});
  for (int i = 0; i < 4; ++i) q_sum += q[i] = std::exp(double{other[i]});
  for (int i = 0; i < 4; ++i) expected += p[i] / p_sum * std::log((p[i] / p_sum) / (q[i] / q_sum));
  const Comparison result = compare(base, other, 3);
  EXPECT_NEAR(result.divergence, expected, 1e-12);
  EXPECT_NEAR(result.base_nll, -std::log(p[3] / p_sum), 1e-12);
  EXPECT_NEAR(result.nll, -std::log(q[3] / q_sum), 1e-12);
  EXPECT_FALSE(result.same_top);
}

RC_GTEST_PROP(Scores, EqualRowsDoNotDivergeAtAll, (std::vector<int> values)) {
  std::vector<float> logits = {0.5f};
  for (const int value : values) logits.push_back(static_cast<float>(value % 1000) / 37);
  const Comparison result = compare(logits, logits, 0);
  RC_ASSERT(result.divergence == 0);
  RC_ASSERT(result.base_nll == result.nll);
  RC_ASSERT(result.same_top);
}

RC_GTEST_PROP(Scores, ADivergenceIsNeverNegativeAndKnowsNoConstant, (std::vector<int> values)) {
  std::vector<float> base = {0.5f, 1}, other = {1.5f, 0}, shifted;
  for (std::size_t i = 0; i < values.size(); ++i) {
    base.push_back(static_cast<float>(values[i] % 256) / 16);
    other.push_back(static_cast<float>(values[values.size() - 1 - i] % 256) / 16);
  }
  for (const float logit : other) shifted.push_back(logit + 8);
  const double divergence = compare(base, other, 0).divergence;
  RC_ASSERT(divergence >= 0);
  RC_ASSERT(std::abs(compare(base, shifted, 0).divergence - divergence) < 1e-9);
}

TEST(Scores, ASummaryCountsRanksAndPairs) {
  std::vector<Comparison> comparisons;
  for (int i = 0; i < 100; ++i)
    comparisons.push_back({i / 100.0, std::log(2.0), std::log(2.5), i % 4 != 0});
  const Divergence summary = summarize(comparisons);
  EXPECT_EQ(summary.tokens, 100u);
  EXPECT_NEAR(summary.mean.value, 0.495, 1e-12);
  EXPECT_NEAR(summary.median, 0.495, 1e-12);
  EXPECT_NEAR(summary.p99, 0.9801, 1e-12);
  EXPECT_DOUBLE_EQ(summary.max, 0.99);
  EXPECT_DOUBLE_EQ(summary.same_top.value, 0.75);
  EXPECT_NEAR(summary.same_top.error, std::sqrt(0.75 * 0.25 / 99), 1e-12);
  EXPECT_NEAR(summary.base_perplexity.value, 2, 1e-12);
  EXPECT_NEAR(summary.perplexity.value, 2.5, 1e-12);
  EXPECT_NEAR(summary.perplexity_ratio.value, 1.25, 1e-12);
  // Every pair has the same ratio: it is known exactly.
  EXPECT_NEAR(summary.perplexity_ratio.error, 0, 1e-12);
  EXPECT_NEAR(summary.delta_p.value, 0.4 - 0.5, 1e-12);
  EXPECT_NEAR(summary.delta_p_rms.value, 0.1, 1e-12);
  EXPECT_EQ(summarize({}).tokens, 0u);
}

std::vector<TokenId> counting(std::size_t n) {
  std::vector<TokenId> tokens(n);
  for (std::size_t i = 0; i < n; ++i) tokens[i] = static_cast<TokenId>(i);
  return tokens;
}

TEST(Windows, TheDefaultScoresSecondHalvesAsLlamaPerplexityDoes) {
  const auto windows = cut(counting(23), {.context = 8}, "text");
  ASSERT_TRUE(windows) << windows.error().message();
  ASSERT_EQ(windows->size(), 2u);  // 7 tokens fill no third window
  EXPECT_EQ((*windows)[1].tokens.front(), 8u);
  // llama-perplexity: for j = n_ctx / 2 ... n_ctx - 2, token j + 1.
  EXPECT_THAT((*windows)[1].scored, ElementsAre(Range{5, 8}));
  EXPECT_EQ(scored_tokens(*windows), 6u);
}

TEST(Windows, AStrideScoresEveryTokenButTheFirstOnce) {
  for (const std::size_t stride : {1u, 3u, 4u, 7u}) {
    const auto windows = cut(counting(41), {.context = 8, .stride = stride}, "text");
    ASSERT_TRUE(windows);
    std::vector<TokenId> scored;
    for (const Window& window : *windows)
      for (const Range& range : window.scored)
        scored.insert(scored.end(), window.tokens.begin() + static_cast<long>(range.begin),
                      window.tokens.begin() + static_cast<long>(range.end));
    auto expected = counting(41);
    expected.erase(expected.begin());
    EXPECT_EQ(scored, expected) << stride;
  }
}

TEST(Windows, AStrideOfAWholeWindowSkipsEachFirstToken) {
  const auto windows = cut(counting(20), {.context = 8, .stride = 8}, "text");
  ASSERT_TRUE(windows);
  ASSERT_EQ(windows->size(), 3u);
  EXPECT_THAT((*windows)[1].scored, ElementsAre(Range{1, 8}));
  EXPECT_THAT((*windows)[2].scored, ElementsAre(Range{1, 4}));
}

TEST(Windows, TheirNumberCanBeLimited) {
  EXPECT_EQ(cut(counting(80), {.context = 8, .windows = 3}, "text")->size(), 3u);
  EXPECT_EQ(cut(counting(80), {.context = 8, .stride = 4, .windows = 3}, "text")->size(), 3u);
}

TEST(Windows, RefusesTextsAndSizesThatScoreNothing) {
  const auto code = [](std::size_t tokens, const Cutting& cutting) {
    const auto windows = cut(counting(tokens), cutting, "text");
    return windows ? ErrorCode::internal : windows.error().code;
  };
  EXPECT_EQ(code(0, {.context = 8}), ErrorCode::usage);
  EXPECT_EQ(code(7, {.context = 8}), ErrorCode::usage);
  EXPECT_EQ(code(100, {.context = 2}), ErrorCode::usage);
  EXPECT_EQ(code(100, {.context = 8, .stride = 9}), ErrorCode::usage);
  EXPECT_EQ(code(1, {.context = 8, .stride = 4}), ErrorCode::usage);
}

}  // namespace
}  // namespace tern::eval
