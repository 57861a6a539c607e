#include "engine/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/testing.h"

namespace tern::engine {
namespace {

using ::testing::ElementsAre;
using Status = Output::Status;

constexpr TokenId kEndThink = 13;
const OnPiece kNobody;

const Vocabulary& vocabulary() {
  static const Vocabulary demo = [] {
    const auto checkpoint = open_checkpoint("demo").value();
    return Vocabulary::load(checkpoint, model::Config::from(checkpoint).value()).value();
  }();
  return demo;
}

std::vector<TokenId> ids(std::string_view text) {
  return vocabulary().tokenizer.encode(text);
}

text::StopMatcher stop_at(std::vector<std::string> stops) {
  return text::StopMatcher::make(stops).value();
}

/// Pieces as "r:..." and "c:...".
struct Recorder {
  std::vector<std::string> pieces;
  Continue answer = Continue::yes;
  OnPiece on_piece = [this](const Piece& piece) {
    pieces.push_back((piece.reasoning ? "r:" : "c:") + std::string(piece.text));
    return answer;
  };
};

Status push(Output& output, const std::vector<TokenId>& tokens) {
  Status status = Status::going;
  for (const TokenId token : tokens) {
    status = output.push(token);
    if (status != Status::going) break;
  }
  return status;
}

TEST(Output, TellsReasoningFromContentAndDropsTheSpaceAround) {
  Output output(vocabulary(), true, {}, kNobody);
  push(output, ids("\nHm.\n"));
  EXPECT_TRUE(output.thinking());
  push(output, ids("</think>"));
  EXPECT_FALSE(output.thinking());
  push(output, ids("\n\nYes. \n"));
  output.finish();
  EXPECT_EQ(output.reasoning(), "Hm.");
  EXPECT_EQ(output.content(), "Yes.");
}

TEST(Output, AToolCallEndsTheThought) {
  Output output(vocabulary(), true, {}, kNobody);
  push(output, ids("Hm.<tool_call>\nx"));
  output.finish();
  EXPECT_EQ(output.reasoning(), "Hm.");
  EXPECT_EQ(output.content(), "<tool_call>\nx");
}

TEST(Output, APromptThatKnowsNoThinkingIsContinuedToTheLetter) {
  Output output(vocabulary(), std::nullopt, {}, kNobody);
  push(output, ids(" a \n</think> \n"));
  output.finish();
  EXPECT_EQ(output.content(), " a \n</think> \n");
  EXPECT_EQ(output.reasoning(), "");
}

TEST(Output, SpecialTokensHaveNoText) {
  Output output(vocabulary(), false, {}, kNobody);
  push(output, ids("a<|im_end|>b<s>"));
  EXPECT_EQ(output.content(), "ab");
}

TEST(Output, CharactersComeWholeAndAnUnfinishedOneIsReplacedAtTheEnd) {
  Recorder recorder;
  Output output(vocabulary(), false, {}, recorder.on_piece);
  const TokenId first_byte = ids("\xc3").front(), second_byte = ids("\xa9").front();
  output.push(first_byte);
  EXPECT_TRUE(recorder.pieces.empty());
  output.push(second_byte);
  output.push(first_byte);
  output.finish();
  EXPECT_THAT(recorder.pieces, ElementsAre("c:\xc3\xa9", "c:\xef\xbf\xbd"));
}

TEST(Output, StopTextsAreLookedForInTheContentOnly) {
  Output output(vocabulary(), true, stop_at({"END"}), kNobody);
  EXPECT_EQ(push(output, ids("the END of it</think>so")), Status::going);
  EXPECT_EQ(push(output, ids(" the END")), Status::stopped);
  EXPECT_EQ(output.finish(), Status::stopped);
  EXPECT_EQ(output.reasoning(), "the END of it");
  EXPECT_EQ(output.content(), "so the ");
}

TEST(Output, WhatMightBecomeAStopTextWaits) {
  Recorder recorder;
  Output output(vocabulary(), std::nullopt, stop_at({"END"}), recorder.on_piece);
  push(output, ids("E"));
  EXPECT_TRUE(recorder.pieces.empty());
  EXPECT_EQ(output.finish(), Status::going);
  EXPECT_THAT(recorder.pieces, ElementsAre("c:E"));
}

TEST(Output, NothingComesAfterTheCallbackSaidNo) {
  Recorder recorder;
  recorder.answer = Continue::no;
  Output output(vocabulary(), std::nullopt, stop_at({"eND"}), recorder.on_piece);
  EXPECT_EQ(push(output, ids(" the")), Status::cancelled);
  EXPECT_EQ(output.finish(), Status::cancelled);
  EXPECT_THAT(recorder.pieces, ElementsAre("c: th"));
}

TEST(Output, OneTokenCanEndTheThoughtAndTheAnswerGoesOn) {
  Recorder recorder;
  Output output(vocabulary(), true, {}, recorder.on_piece);
  push(output, ids("Hm"));
  output.push(kEndThink);
  push(output, ids("Yes"));
  output.finish();
  std::string joined;
  for (const std::string& piece : recorder.pieces) joined += piece.substr(2);
  EXPECT_EQ(joined, "HmYes");
}

}  // namespace
}  // namespace tern::engine
