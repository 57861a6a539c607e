#include "text/reasoning.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tern::text {
namespace {

constexpr TokenId kWord = 100;
constexpr TokenId kBegin = 12;
constexpr TokenId kEnd = 13;
constexpr TokenId kCall = 14;
constexpr ReasoningTokens kTokens{kBegin, kEnd, kCall};

TokenId id_of(std::string_view text) {
  if (text.ends_with(kThinkBegin)) return kBegin;
  if (text.ends_with(kThinkEnd)) return kEnd;
  if (text.ends_with(kToolCallBegin)) return kCall;
  return kWord;
}

struct Both {
  std::string reasoning, answer;
  std::vector<std::string> pieces;
  bool operator==(const Both&) const = default;
};

Both split(const std::vector<std::string>& tokens, bool thinking) {
  ReasoningSplitter splitter(kTokens, thinking);
  Both both;
  const auto take = [&](const std::vector<ReasoningSplitter::Part>& parts) {
    for (const auto& part : parts) {
      EXPECT_FALSE(part.text.empty());
      (part.reasoning ? both.reasoning : both.answer) += part.text;
      both.pieces.push_back((part.reasoning ? "R:" : "A:") + part.text);
    }
  };
  for (const auto& token : tokens) take(splitter.push(id_of(token), token));
  take(splitter.finish());
  return both;
}

TEST(Reasoning, IsEverythingBeforeTheEndOfThinkingWithoutSurroundingSpace) {
  const Both both =
      split({"\n", "let me", " see", "\n\n", "</think>", "\n\n", "42", " !", "\n"}, true);
  EXPECT_EQ(both.reasoning, "let me see");
  EXPECT_EQ(both.answer, "42 !");
}

TEST(Reasoning, IsEverythingWhenThinkingNeverEnds) {
  const Both both = split({"hm", " ", "hm ", " "}, true);
  EXPECT_EQ(both.reasoning, "hm hm");
  EXPECT_EQ(both.answer, "");
}

TEST(Reasoning, IsNothingWhenThinkingIsOff) {
  const Both both = split({"\n", "plain", "\n", "answer"}, false);
  EXPECT_EQ(both.reasoning, "");
  EXPECT_EQ(both.answer, "plain\nanswer");
}

TEST(Reasoning, EndsAtAToolCallThatBelongsToTheAnswer) {
  const Both both = split({"I call", "\n", "<tool_call>", "\n", "<function=f>"}, true);
  EXPECT_EQ(both.reasoning, "I call");
  EXPECT_EQ(both.answer, "<tool_call>\n<function=f>");
}

TEST(Reasoning, SpaceIsHeldBackOnlyUntilMoreTextFollows) {
  const Both both = split({" \n", "a ", "b", "\n", "\n", "c"}, true);
  EXPECT_EQ(both.pieces, (std::vector<std::string>{"R:a", "R: b", "R:\n\nc"}));
}

TEST(Reasoning, AThinkTagThatTheModelRepeatsIsDropped) {
  EXPECT_EQ(split({"<think>", "\n", "a", "</think>", "b"}, true).reasoning, "a");
  EXPECT_EQ(split({"<think>", "a", "</think>", "b"}, false).reasoning, "a");
  EXPECT_EQ(split({"</think>", "b"}, false).answer, "b");
}

TEST(Reasoning, AThinkTagInsideTheAnswerIsText) {
  const Both both = split({"a", "</think>", "write ", "<think>", " and ", "</think>"}, true);
  EXPECT_EQ(both.reasoning, "a");
  EXPECT_EQ(both.answer, "write <think> and </think>");
}

TEST(Reasoning, AnUnfinishedCharacterBeforeATagStaysOnItsSide) {
  const Both thought = split({"a", "\xEF\xBF\xBD</think>", "b"}, true);
  EXPECT_EQ(thought.reasoning, "a\xEF\xBF\xBD");
  EXPECT_EQ(thought.answer, "b");
  EXPECT_EQ(split({"a", "\xEF\xBF\xBD<tool_call>"}, true).reasoning, "a\xEF\xBF\xBD");
}

TEST(Reasoning, StripsWhatPythonStrips) {
  EXPECT_EQ(split({"\xC2\xA0\xE3\x80\x80\x1Cx\xE2\x80\xA8"}, false).answer, "x");
  EXPECT_EQ(split({"\xE2\x80\x8Bx"}, false).answer, "\xE2\x80\x8Bx") << "zero-width space stays";
}

TEST(Reasoning, TagsMeanNothingWhenTheVocabularyLacksThem) {
  ReasoningSplitter splitter({}, true);
  EXPECT_EQ(splitter.push(kEnd, "</think>"),
            (std::vector<ReasoningSplitter::Part>{{"</think>", true}}));
  EXPECT_TRUE(splitter.thinking());
}

RC_GTEST_PROP(Reasoning, DoesNotDependOnHowTextIsCutIntoTokens, ()) {
  const auto words = *rc::gen::container<std::vector<std::string>>(
      rc::gen::element<std::string>("a", " ", "\n", "bc", " d", "e\n", "\xC2\xA0"));
  std::string whole;
  for (const auto& word : words) whole += word;
  Both pieces = split(words, true);
  Both once = split({whole}, true);
  RC_ASSERT(pieces.reasoning == once.reasoning);
}

}  // namespace
}  // namespace tern::text
