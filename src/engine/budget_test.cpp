#include "engine/budget.h"

#include <gtest/gtest.h>

namespace tern::engine {
namespace {

TEST(ReasoningBudget, LetsTheModelThinkUpToTheBudget) {
  const ReasoningBudget budget = {.tokens = 10, .grace = 5};
  EXPECT_FALSE(budget.spent(0, ""));
  EXPECT_FALSE(budget.spent(9, "Done.\n"));
}

TEST(ReasoningBudget, WaitsForTheEndOfASentenceWithinTheGrace) {
  const ReasoningBudget budget = {.tokens = 10, .grace = 5};
  EXPECT_FALSE(budget.spent(10, " and"));
  EXPECT_TRUE(budget.spent(10, " end."));
  EXPECT_FALSE(budget.spent(14, " and"));
  EXPECT_TRUE(budget.spent(14, "\n"));
}

TEST(ReasoningBudget, EndsTheThoughtWhenTheGraceIsSpent) {
  const ReasoningBudget budget = {.tokens = 10, .grace = 5};
  EXPECT_TRUE(budget.spent(15, " and"));
  EXPECT_TRUE(ReasoningBudget({.tokens = 3, .grace = 0}).spent(3, " and"));
}

TEST(ReasoningBudget, OfNothingAllowsNoThoughtAtAll) {
  EXPECT_TRUE(ReasoningBudget({.tokens = 0, .grace = 100}).spent(0, ""));
}

TEST(EndsSentence, SeesNewlinesAndMarksBehindClosingSigns) {
  for (const char* text : {"\n", "so.\n\n", ".", "?", "stop!", "he said.\"", "(yes.) ", "**2.**",
                           "\xe3\x80\x82", "\xef\xbc\x9f", "\xef\xbc\x81"})
    EXPECT_TRUE(ends_sentence(text)) << text;
  for (const char* text : {"", " ", "and", ",", "3.1", ":", "\")", "\xe3\x80\x81"})
    EXPECT_FALSE(ends_sentence(text)) << text;
}

}  // namespace
}  // namespace tern::engine
