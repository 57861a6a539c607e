#include "text/stop.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <vector>

namespace tern::text {
namespace {

StopMatcher matcher(const std::vector<std::string>& stops) {
  return StopMatcher::make(stops).value();
}

TEST(StopMatcher, CutsTheTextWhereTheStopStringBegins) {
  StopMatcher stop = matcher({"END"});
  EXPECT_EQ(stop.push("hello END and more"), "hello ");
  EXPECT_EQ(stop.matched(), 0u);
  EXPECT_EQ(stop.push("anything"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopMatcher, FindsAStopStringThatSpansPieces) {
  StopMatcher stop = matcher({"\n\nUser:"});
  EXPECT_EQ(stop.push("yes\n"), "yes");
  EXPECT_EQ(stop.push("\nUs"), "");
  EXPECT_EQ(stop.push("er: no"), "");
  EXPECT_TRUE(stop.matched());
}

TEST(StopMatcher, HoldsBackNoMoreThanAPossibleBeginning) {
  StopMatcher stop = matcher({"abcd"});
  EXPECT_EQ(stop.push("xab"), "x");
  EXPECT_EQ(stop.push("abc"), "ab");
  EXPECT_EQ(stop.push("x"), "abcx");
  EXPECT_EQ(stop.push("a"), "");
  EXPECT_EQ(stop.finish(), "a");
  EXPECT_FALSE(stop.matched());
}

TEST(StopMatcher, TheFirstToBeCompletedWins) {
  StopMatcher inner = matcher({"abcd", "bc"});
  EXPECT_EQ(inner.push("abcd"), "a");
  EXPECT_EQ(inner.matched(), 1u);
  StopMatcher longest = matcher({"c", "bc"});
  EXPECT_EQ(longest.push("abc"), "a");
  EXPECT_EQ(longest.matched(), 1u);
}

TEST(StopMatcher, WithoutStopStringsNothingIsHeldBack) {
  StopMatcher stop = matcher({});
  EXPECT_EQ(stop.push("abc"), "abc");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopMatcher, RefusesEmptyLongAndTooManyStopStrings) {
  const auto code = [](const std::vector<std::string>& stops) {
    return StopMatcher::make(stops).error().code;
  };
  EXPECT_EQ(code({"a", ""}), ErrorCode::usage);
  EXPECT_EQ(code({std::string(kMaxStopBytes + 1, 'a')}), ErrorCode::too_large);
  EXPECT_EQ(code(std::vector<std::string>(kMaxStopStrings + 1, "a")), ErrorCode::too_large);
}

TEST(StopMatcher, TakesLinearTimeOnTextThatAlmostStops) {
  StopMatcher stop = matcher({std::string(kMaxStopBytes - 1, 'a') + "b"});
  const auto start = std::chrono::steady_clock::now();
  std::size_t shown = 0;
  for (int i = 0; i < 1'000'000; ++i) shown += stop.push("a").size();
  shown += stop.finish().size();
  EXPECT_EQ(shown, 1'000'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

RC_GTEST_PROP(StopMatcher, AgreesWithASearchInTheWholeText, ()) {
  const auto letters = rc::gen::element('a', 'b', 'c');
  const auto word = rc::gen::nonEmpty(rc::gen::container<std::string>(letters));
  const auto stops =
      *rc::gen::resize(4, rc::gen::nonEmpty(rc::gen::container<std::vector<std::string>>(word)));
  const auto pieces = *rc::gen::container<std::vector<std::string>>(word);
  std::string whole;
  for (const auto& piece : pieces) whole += piece;

  std::size_t first_end = std::string::npos;
  std::size_t begin = whole.size();
  for (const auto& stop : stops) {
    const std::size_t at = whole.find(stop);
    if (at == std::string::npos) continue;
    const std::size_t end = at + stop.size();
    if (end < first_end || (end == first_end && at < begin)) begin = at;
    first_end = std::min(first_end, end);
  }
  StopMatcher matcher_ = matcher(stops);
  std::string shown;
  for (const auto& piece : pieces) {
    shown += matcher_.push(piece);
    const bool needed = !matcher_.matched() && shown.size() < whole.size();
    if (needed) RC_ASSERT(whole.starts_with(shown));
  }
  shown += matcher_.finish();
  RC_ASSERT(shown == whole.substr(0, begin));
  RC_ASSERT(matcher_.matched().has_value() == (first_end != std::string::npos));
}

}  // namespace
}  // namespace tern::text
