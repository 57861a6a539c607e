#include "eval/kv_report.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "eval/conversation.h"
#include "eval/distortion.h"
#include "eval/pictures.h"
#include "eval/svg.h"

namespace tern::eval {
namespace {

using state::KvScheme;
using testing::HasSubstr;
using testing::Not;

RC_GTEST_PROP(CodeShare, CountsWhatTheRuleOfTheCacheReadsAsCodes, ()) {
  state::KvConfig config(KvScheme::turbo4);
  config.sinks = *rc::gen::inRange<std::size_t>(0, 8);
  config.recent = *rc::gen::inRange<std::size_t>(0, 40);
  config.quantized_start = *rc::gen::inRange<std::size_t>(0, 60);
  const auto positions =
      *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(0, 100));
  double read = 0, codes = 0;
  for (const std::size_t p : positions)
    for (std::size_t s = 0; s <= p; ++s) {
      ++read;
      // state::KvConfig: 16 bits if s < sinks, s > p - recent, or p < quantized_start.
      if (s >= config.sinks && s + config.recent <= p && p >= config.quantized_start) ++codes;
    }
  const double expected = read == 0 ? 0 : codes / read;
  RC_ASSERT(std::abs(code_share(config, positions) - expected) < 1e-12);
}

class KvComparison : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    LoadOptions options;  // a temporary here makes g++ 12 warn of its vector, falsely
    options.threads = 2;
    options.context = 1024;
    auto loaded = engine::Engine::load("demo", options);
    ASSERT_TRUE(loaded) << loaded.error().message();
    engine_ = std::move(*loaded);
  }
  static void TearDownTestSuite() { engine_.reset(); }

  static KvTask task(std::vector<CacheType> types) {
    KvTask task;
    task.types = std::move(types);
    task.windows = *recall_windows(*engine_, 400, 2, 3);
    return task;
  }
  static state::KvConfig without_windows(KvScheme scheme) {
    state::KvConfig config(scheme);
    config.sinks = config.recent = 0;
    return config;
  }

  static inline std::unique_ptr<engine::Engine> engine_;
  static inline ThreadPool pool_{2};
};

TEST_F(KvComparison, TheReferenceDoesNotDivergeFromItself) {
  const auto report = compare_caches(*engine_, task({{"f16", KvScheme::f16}}), pool_, {});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->rows[0].divergence.max, 0);
  EXPECT_EQ(report->rows[0].divergence.same_top.value, 1);
  EXPECT_EQ(report->rows[0].text_share, 0);
  EXPECT_EQ(report->rows[0].bytes_per_token, 2u * 2 * 2 * 128 * 2);
}

TEST_F(KvComparison, FewerBitsDivergeMore) {
  const auto report = compare_caches(*engine_,
                                     task({{"8", without_windows(KvScheme::q8_0)},
                                           {"4", without_windows(KvScheme::turbo4)},
                                           {"2", without_windows(KvScheme::turbo2)}}),
                                     pool_, {});
  ASSERT_TRUE(report) << report.error().message();
  const auto& rows = report->rows;
  EXPECT_GT(rows[0].divergence.mean.value, 0);
  EXPECT_GT(rows[1].divergence.median, rows[0].divergence.median);
  EXPECT_GT(rows[2].divergence.median, rows[1].divergence.median);
  for (const KvRow& row : rows) EXPECT_EQ(row.text_share, 1);
  // The codebook's own error on Gaussian vectors is 0.0078 and 0.115.
  for (const double error : {rows[1].key_error, rows[1].value_error})
    EXPECT_NEAR(error, 0.0078, 0.003);
  for (const double error : {rows[2].key_error, rows[2].value_error})
    EXPECT_NEAR(error, 0.115, 0.04);
  EXPECT_EQ(rows[1].bytes_per_token, 2u * 2 * 2 * 66);
}

TEST_F(KvComparison, TheWindowsOf16BitsHideTheCodesOfShortTexts) {
  const auto text = task({{"windows", state::KvConfig(KvScheme::turbo2)},
                          {"codes", without_windows(KvScheme::turbo2)}});
  KvTask brief = text;
  for (Window& window : brief.windows) {
    window.tokens.resize(130);
    window.scored = {{100, 130}};
  }
  const auto report = compare_caches(*engine_, brief, pool_, {});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->rows[0].text_share, 0);
  EXPECT_EQ(report->rows[0].divergence.max, 0);
  EXPECT_GT(report->rows[1].divergence.max, 0);
}

TEST_F(KvComparison, AllTypesSeeTheSameQuestions) {
  KvTask all = task({{"f16", KvScheme::f16}, {"turbo4", KvScheme::turbo4}});
  all.windows.clear();
  all.needles = {.lengths = {200}, .depths = 2, .distractors = 1, .seed = 3};
  all.questions = *arithmetic_questions(*engine_, 2, 1);
  const auto report = compare_caches(*engine_, all, pool_, {});
  ASSERT_TRUE(report) << report.error().message();
  for (const KvRow& row : report->rows) {
    EXPECT_EQ(row.needles.asked, 2u);
    EXPECT_EQ(row.questions.asked, 2u);
    EXPECT_EQ(row.divergence.tokens, 0u);
  }
}

TEST(DistortionTable, FindsTheoryAndOrthogonality) {
  ThreadPool pool(2);
  const auto report =
      measure({.dims = {64}, .bits = {2}, .vectors = 4096, .structured = 400, .seed = 3}, pool, {});
  ASSERT_TRUE(report) << report.error().message();
  ASSERT_EQ(report->rows.size(), 1u);
  const auto& d = report->rows[0].distortion;
  EXPECT_NEAR(d.mse.value / d.mse_theory, 1, 0.02);
  for (const Orthogonality& row : report->rotations) {
    EXPECT_LT(row.gram, 1e-6) << row.rotation;
    EXPECT_LT(row.round_trip, 1e-6) << row.rotation;
  }
  // Independent numbers need no rotation, and none helps or harms, haar included.
  for (const StructureRow& row : report->codebooks) {
    const double expected = row.codec.ends_with("3 bits") ? 0.0340 : 0.0094;
    EXPECT_NEAR(row.errors[0].value / expected, 1, 0.05) << row.codec;
  }
  const auto refused = measure({.dims = {100}, .vectors = 256}, pool, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);
}

TEST(Svg, TextCannotLeaveItsElement) {
  Svg svg(10, 10, "a < b");
  svg.text(1, 2, "</text><script>&\"\x01");
  const std::string text = svg.str();
  EXPECT_THAT(text, HasSubstr("a &lt; b"));
  EXPECT_THAT(text, HasSubstr("&lt;/text&gt;&lt;script&gt;&amp;&quot; "));
  EXPECT_THAT(text, Not(HasSubstr("<script")));
}

TEST(Pictures, NameEveryPointAndSurviveOddOnes) {
  const CachePoint points[] = {{"f16", 2048, 0}, {"turbo4", 528, 4e-4}, {"turbo2", 272, 0.01}};
  const std::string text = cache_picture(points, "title");
  for (const char* label : {"f16", "turbo4", "turbo2", "title", "bytes of the cache"})
    EXPECT_THAT(text, HasSubstr(label));
  EXPECT_THAT(cache_picture({}, "nothing"), HasSubstr("nothing"));
  const CachePoint same[] = {{"a", 0, 0}, {"a", 0, 0}};
  EXPECT_THAT(cache_picture(same, ""), Not(HasSubstr("nan")));
  const NeedleCell cells[] = {{512, 0, {2, 2}}, {512, 1, {2, 0}}};
  EXPECT_THAT(needle_picture(cells, "grid"), HasSubstr("0/2"));
}

}  // namespace
}  // namespace tern::eval
