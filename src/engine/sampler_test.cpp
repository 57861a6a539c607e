#include "engine/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <sstream>

#include "base/json.h"
#include "base/test_paths.h"

namespace tern::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Sampler sampler(const Sampling& sampling, std::uint64_t seed = 1) {
  return Sampler(sampling, {}, {}, seed);
}

std::vector<float> random_logits(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = static_cast<float>(random.uniform() * 12.0 - 6.0);
  return logits;
}

std::vector<TokenId> draws(Sampler& source, std::span<const float> logits, std::size_t count) {
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = source.sample(logits, {}, 0).value();
  return ids;
}

json::array golden_cases() {
  std::ifstream file(std::filesystem::path(source_dir()) / "tests/golden/sampling/sampling.json");
  std::stringstream text;
  text << file.rdbuf();
  return parse_json(text.view(), "sampling.json").value().as_array();
}

template <class T>
std::vector<T> list(const json::value& value) {
  return json::value_to<std::vector<T>>(value);
}

float number(const json::object& options, std::string_view key, float fallback) {
  const json::value* value = options.if_contains(key);
  return value ? value->to_number<float>() : fallback;
}

Sampler golden_sampler(const json::object& options) {
  const Sampling sampling = {
      .temperature = number(options, "temperature", 1.0f),
      .top_k = static_cast<std::size_t>(number(options, "top_k", 0.0f)),
      .top_p = number(options, "top_p", 1.0f),
      .min_p = number(options, "min_p", 0.0f),
      .repetition_penalty = number(options, "repetition_penalty", 1.0f),
      .repetition_window = static_cast<std::size_t>(number(options, "repetition_window", 0.0f)),
      .presence_penalty = number(options, "presence_penalty", 0.0f),
      .frequency_penalty = number(options, "frequency_penalty", 0.0f)};
  std::map<TokenId, float> bias;
  if (const json::value* entries = options.if_contains("logit_bias")) {
    for (const auto& [id, value] : entries->as_object())
      bias[static_cast<TokenId>(std::stoul(std::string(id)))] = value.to_number<float>();
  }
  std::vector<TokenId> banned;
  if (const json::value* ids = options.if_contains("banned")) banned = list<TokenId>(*ids);
  return Sampler(sampling, bias, banned, 1);
}

TEST(Sampler, KeepsTheTokensAndProbabilitiesThatTransformersKeeps) {
  const json::array cases = golden_cases();
  ASSERT_EQ(cases.size(), 21u);
  for (const json::value& value : cases) {
    const json::object& object = value.as_object();
    SCOPED_TRACE(json::serialize(object.at("options")));
    Sampler source = golden_sampler(object.at("options").as_object());
    const auto logits = list<float>(object.at("logits"));
    const auto history = list<TokenId>(object.at("history"));
    const auto kept =
        source.candidates(logits, history, object.at("generated").to_number<std::size_t>());
    ASSERT_TRUE(kept) << kept.error().message();
    double total = 0.0;
    std::map<TokenId, double> weights;
    for (const auto& [weight, id] : *kept) {
      total += weight;
      weights[id] = weight;
    }
    const auto ids = list<TokenId>(object.at("ids"));
    const auto probabilities = list<double>(object.at("probabilities"));
    ASSERT_EQ(weights.size(), ids.size());
    for (std::size_t index = 0; index < ids.size(); ++index) {
      ASSERT_TRUE(weights.contains(ids[index])) << ids[index];
      EXPECT_NEAR(weights[ids[index]] / total, probabilities[index], 1e-6 * probabilities[index])
          << ids[index];
    }
  }
}

TEST(Sampler, DrawsWithTheProbabilitiesOfTheKeptTokens) {
  const std::vector<float> logits = random_logits(300, 5);
  constexpr std::size_t kDraws = 20'000;
  for (const Sampling& sampling :
       {Sampling{.temperature = 1.0f}, Sampling{.temperature = 0.6f, .top_p = 0.95f},
        Sampling{.temperature = 2.0f, .top_k = 40},
        Sampling{.temperature = 1.5f, .top_k = 100, .top_p = 0.8f, .min_p = 0.1f}}) {
    Sampler source = sampler(sampling, 99);
    const auto span = source.candidates(logits, {}, 0).value();
    const std::vector<Sampler::Candidate> kept(span.begin(), span.end());
    std::vector<double> observed(logits.size());
    for (const TokenId id : draws(source, logits, kDraws)) ++observed[id];

    const double total = std::accumulate(kept.begin(), kept.end(), 0.0,
                                         [](double sum, const auto& c) { return sum + c.weight; });
    double chi_square = 0.0, degrees = -1.0, inside = 0.0, rest_expected = 0.0, rest_observed = 0.0;
    for (const auto& [weight, id] : kept) {
      const double expected = weight / total * double{kDraws};
      inside += observed[id];
      if (expected < 10.0) {
        rest_expected += expected;
        rest_observed += observed[id];
        continue;
      }
      chi_square += std::pow(observed[id] - expected, 2.0) / expected;
      degrees += 1.0;
    }
    if (rest_expected >= 10.0) {
      chi_square += std::pow(rest_observed - rest_expected, 2.0) / rest_expected;
      degrees += 1.0;
    }
    EXPECT_EQ(inside, double{kDraws}) << "a token was drawn that is not kept";
    // Mean and deviation of the distribution are `degrees` and sqrt(2 degrees).
    EXPECT_LT(chi_square, degrees + 4.0 * std::sqrt(2.0 * degrees));
    EXPECT_GT(chi_square, degrees - 4.0 * std::sqrt(2.0 * degrees));
  }
}

TEST(Sampler, DrawsTheSameTokensFromTheSameSeed) {
  const std::vector<float> logits = random_logits(1000, 3);
  const Sampling sampling = {.temperature = 1.0f, .top_p = 0.9f};
  Sampler first = sampler(sampling, 42), again = sampler(sampling, 42),
          other = sampler(sampling, 43);
  const std::vector<TokenId> ids = draws(first, logits, 50);
  EXPECT_EQ(ids, draws(again, logits, 50));
  EXPECT_NE(ids, draws(other, logits, 50));
}

TEST(Sampler, DrawsTheSameTokensOnEveryPlatform) {
  const std::vector<float> logits = random_logits(1000, 3);
  Sampler source = sampler({.temperature = 1.0f, .top_p = 0.9f}, 42);
  EXPECT_THAT(draws(source, logits, 8), ElementsAre(906, 62, 787, 95, 49, 934, 606, 392));
}

TEST(Sampler, GreedyTakesTheLargestLogitAndTheLowestIdAmongEquals) {
  for (const Sampling& sampling :
       {Sampling{.temperature = 0.0f}, Sampling{.temperature = 1.0f, .top_k = 1}}) {
    Sampler source = sampler(sampling);
    EXPECT_EQ(source.sample(std::vector<float>{1, 5, 2, 5, 5}, {}, 0), TokenId{1});
    EXPECT_EQ(source.sample(std::vector<float>{-3, -2, -1}, {}, 0), TokenId{2});
    EXPECT_EQ(source.sample(std::vector<float>{-1e38f}, {}, 0), TokenId{0});
  }
}

TEST(Sampler, TheTiniestTemperatureIsGreedy) {
  Sampler source = sampler({.temperature = std::numeric_limits<float>::denorm_min()});
  for (int draw = 0; draw < 100; ++draw)
    EXPECT_EQ(source.sample(std::vector<float>{1.0f, 1.0001f, -3.0f}, {}, 0), TokenId{1});
}

TEST(Sampler, TopKKeepsExactlyKAmongEquals) {
  Sampler source = sampler({.temperature = 1.0f, .top_k = 3});
  std::vector<TokenId> ids;
  const auto kept = source.candidates(std::vector<float>(9, 2.0f), {}, 0).value();
  for (const auto& [weight, id] : kept) ids.push_back(id);
  std::ranges::sort(ids);
  EXPECT_THAT(ids, ElementsAre(0, 1, 2));
}

TEST(Sampler, TopPAlwaysKeepsTheLikeliestToken) {
  Sampler source = sampler({.temperature = 1.0f, .top_p = 1e-30f});
  EXPECT_EQ(source.candidates(random_logits(500, 8), {}, 0)->size(), 1u);
}

TEST(Sampler, TopPKeepsTheSmallestSetAlsoWhenItIsLarge) {
  // Equal tokens: half the mass is half of them, and ranking takes several rounds.
  Sampler source = sampler({.temperature = 1.0f, .top_p = 0.5f});
  EXPECT_EQ(source.candidates(std::vector<float>(4096, 0.25f), {}, 0)->size(), 2048u);
}

TEST(Sampler, NeverChoosesBannedTokens) {
  const std::vector<float> logits = {9, 8, 7, 0, 1};
  for (const float temperature : {0.0f, 1.0f, 100.0f}) {
    Sampler source({.temperature = temperature}, {{2, -100.0f}}, {0, 1, 77}, 5);
    for (const TokenId id : draws(source, logits, 2000)) EXPECT_GE(id, 3u);
  }
}

TEST(Sampler, ReportsThatEveryTokenIsBanned) {
  Sampler source({.temperature = 1.0f}, {{0, -kInfinity}}, {1, 2}, 5);
  const auto result = source.sample(std::vector<float>{1, 2, 3}, {}, 0);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::usage);
  EXPECT_THAT(result.error().what, HasSubstr("all 3 tokens are banned"));
}

TEST(Sampler, ReportsLogitsThatAreNotFinite) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    std::vector<float> logits = random_logits(100, 1);
    logits[41] = bad;
    for (const float temperature : {0.0f, 1.0f}) {
      const auto result = sampler({.temperature = temperature}).sample(logits, {}, 0);
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::numeric);
      EXPECT_THAT(result.error().what, HasSubstr("token 41"));
    }
  }
}

TEST(Sampler, AnExtremePenaltyOrBiasStaysFinite) {
  const std::vector<float> logits = {3e38f, -3e38f, 1.0f};
  const std::vector<TokenId> history = {0, 1, 2, 2};
  Sampler source({.temperature = 1.0f, .repetition_penalty = 1e-38f}, {{2, 3e38f}}, {}, 5);
  EXPECT_TRUE(source.sample(logits, history, 2));
}

TEST(Sampler, PenaltiesIgnoreTokensOutsideTheVocabulary) {
  const std::vector<TokenId> history = {500, 1, 4'000'000'000u};
  Sampler source({.repetition_penalty = 2.0f, .presence_penalty = 1.0f}, {}, {}, 5);
  EXPECT_EQ(source.sample(std::vector<float>{1.0f, 1.5f}, history, 3), TokenId{0});
}

TEST(Sampler, PenaltiesOfOneTokenDoNotLeakIntoTheNext) {
  const std::vector<TokenId> history = {1, 1, 1};
  Sampler source({.presence_penalty = 1.0f, .frequency_penalty = 1.0f}, {}, {}, 5);
  const std::vector<float> logits = {1.0f, 3.0f};
  EXPECT_EQ(source.sample(logits, history, 3), TokenId{0});
  EXPECT_EQ(source.sample(logits, {}, 0), TokenId{1});
}

TEST(SamplingOptions, ValuesOutsideTheirRangeAreNamedWithValueAndRange) {
  const auto error = [](const SamplingOptions& options) {
    const auto result = resolve(options, {}, 100);
    return result ? "accepted" : result.error().message();
  };
  EXPECT_EQ(error({.temperature = -0.5f}), "temperature: temperature is -0.5, must be at least 0");
  EXPECT_EQ(error({.top_p = 0.0f}), "top_p: top_p is 0, must be above 0 and at most 1");
  EXPECT_THAT(error({.temperature = kNan}), HasSubstr("temperature is nan"));
  EXPECT_THAT(error({.temperature = kInfinity}), HasSubstr("temperature is inf"));
  EXPECT_THAT(error({.top_p = 1.01f}), HasSubstr("top_p is 1.01"));
  EXPECT_THAT(error({.min_p = 1.0f}), HasSubstr("min_p is 1"));
  EXPECT_THAT(error({.min_p = -0.1f}), HasSubstr("min_p is -0.1"));
  EXPECT_THAT(error({.repetition_penalty = 0.0f}), HasSubstr("repetition_penalty is 0"));
  EXPECT_THAT(error({.repetition_penalty = kInfinity}), HasSubstr("repetition_penalty is inf"));
  EXPECT_THAT(error({.presence_penalty = 2.1f}), HasSubstr("presence_penalty is 2.1"));
  EXPECT_THAT(error({.frequency_penalty = kNan}), HasSubstr("frequency_penalty is nan"));
  EXPECT_THAT(error({.logit_bias = {{100, 1.0f}}}), HasSubstr("token 100, must be for a token"));
  EXPECT_THAT(error({.logit_bias = {{5, kNan}}}), HasSubstr("logit_bias is nan for token 5"));
  EXPECT_EQ(error({.temperature = 0.0f,
                   .top_p = 1.0f,
                   .min_p = 0.0f,
                   .presence_penalty = -2.0f,
                   .frequency_penalty = 2.0f,
                   .logit_bias = {{99, -kInfinity}}}),
            "accepted");
}

TEST(SamplingOptions, DefaultsFillWhatIsNotSet) {
  const Sampling defaults = {.temperature = 0.2f, .top_k = 1};
  EXPECT_EQ(resolve({}, defaults, 10)->top_k, 1u);
  EXPECT_EQ(resolve({}, defaults, 10)->temperature, 0.2f);
  // Whoever asks for variety gets it, although the default is greedy.
  EXPECT_EQ(resolve({.temperature = 0.8f}, defaults, 10)->top_k, 0u);
  EXPECT_EQ(resolve({.top_p = 0.8f}, defaults, 10)->top_k, 0u);
  EXPECT_EQ(resolve({.top_p = 0.8f}, defaults, 10)->temperature, 0.2f);
  EXPECT_EQ(resolve({.temperature = 0.8f, .top_k = 7}, defaults, 10)->top_k, 7u);
}

TEST(Portable, ExpAgreesWithTheMathLibrary) {
  for (double x = 0.0; x > -708.0; x -= 0.00937) {
    const double expected = std::exp(x);
    ASSERT_NEAR(exp_nonpositive(x), expected, 4e-16 * expected) << x;
  }
  EXPECT_EQ(exp_nonpositive(0.0), 1.0);
  EXPECT_EQ(exp_nonpositive(-709.0), 0.0);
  EXPECT_EQ(exp_nonpositive(-std::numeric_limits<double>::infinity()), 0.0);
}

TEST(Portable, RandomBitsAreThoseOfXoshiroSeededBySplitMix) {
  // From the reference definitions, computed with Python's integers.
  Random random(0);
  EXPECT_EQ(random.bits(), 11091344671253066420u);
  EXPECT_EQ(random.bits(), 13793997310169335082u);
  EXPECT_EQ(random.bits(), 1900383378846508768u);
  for (int index = 0; index < 10'000; ++index) EXPECT_LT(random.uniform(), 1.0);
}

}  // namespace
}  // namespace tern::engine
