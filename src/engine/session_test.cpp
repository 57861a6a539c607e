#include "engine/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <thread>

#include "engine/budget.h"
#include "engine/testing.h"

namespace tern::engine {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using testing::load_demo;
using testing::load_reporting;
using ::testing::Not;
using testing::Reports;
using Tokens = std::vector<TokenId>;

constexpr TokenId kThink = 12, kEndThink = 13, kToolCall = 14;

Engine& demo() {
  static const std::unique_ptr<Engine> engine = load_demo({.threads = 2, .context = 2048});
  return *engine;
}

Tokens ids(std::string_view text) {
  return demo().vocabulary().tokenizer.encode(text);
}

/// The text of tokens as it is shown: without special ones, U+FFFD where bytes are no character.
std::string text(const Tokens& tokens) {
  const text::Tokenizer& tokenizer = demo().vocabulary().tokenizer;
  text::StreamDecoder decoder(tokenizer);
  std::string shown;
  for (const TokenId token : tokens)
    shown += tokenizer.is_special(token) ? "" : decoder.push(token);
  return shown + decoder.finish();
}

Tokens thinking_prompt() {
  return ids(
      "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
      "<|im_start|>assistant\n<think>\n");
}

/// Greedy, without thinking, through every end token.
GenerateOptions greedy(std::size_t tokens) {
  GenerateOptions options;
  options.sampling.temperature = 0.0f;
  options.max_tokens = tokens;
  options.ignore_eos = true;
  return options;
}

GenerateOptions sampled(std::size_t tokens, std::uint64_t seed) {
  GenerateOptions options = greedy(tokens);
  options.sampling.temperature = 1.5f;
  options.sampling.seed = seed;
  return options;
}

Generation generate(Session& session, const Tokens& prompt, const GenerateOptions& options,
                    const OnPiece& on_piece = {}, const Cancel* cancel = nullptr) {
  auto result = session.generate(prompt, options, on_piece, cancel);
  EXPECT_TRUE(result) << result.error().message();
  return result ? *std::move(result) : Generation{};
}

Generation generate(const Tokens& prompt, const GenerateOptions& options,
                    const OnPiece& on_piece = {}, const Cancel* cancel = nullptr) {
  Session session(demo());
  return generate(session, prompt, options, on_piece, cancel);
}

Error error_of(const Result<Generation>& result) {
  EXPECT_FALSE(result);
  return result ? Error{} : result.error();
}

Tokens joined(Tokens first, const Tokens& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

TEST(Session, GreedyAnswersAreTheSameEveryTime) {
  const Tokens tokens = generate(ids("Once upon a time"), greedy(24)).tokens;
  EXPECT_EQ(tokens.size(), 24u);
  EXPECT_EQ(generate(ids("Once upon a time"), greedy(24)).tokens, tokens);
}

TEST(Session, ASeedMeansTheSameTokensWhateverTheThreads) {
  const Tokens prompt = ids("Once upon a time");
  const Generation first = generate(prompt, sampled(24, 7));
  EXPECT_EQ(first.seed, 7u);
  for (const std::size_t threads : {1u, 3u}) {
    const auto engine = load_demo({.threads = threads, .context = 256});
    Session session(*engine);
    EXPECT_EQ(generate(session, prompt, sampled(24, 7)).tokens, first.tokens) << threads;
  }
  EXPECT_NE(generate(prompt, sampled(24, 8)).tokens, first.tokens);
}

TEST(Session, ARandomSeedIsReportedAndRepeatsTheAnswer) {
  const Tokens prompt = ids("Once");
  const Generation first = generate(prompt, sampled(16, std::numeric_limits<std::uint64_t>::max()));
  EXPECT_EQ(generate(prompt, sampled(16, first.seed)).tokens, first.tokens);
}

TEST(Session, TheSizeOfPrefillChunksDoesNotChangeTheAnswer) {
  const Tokens prompt = joined(thinking_prompt(), ids("One two three four five six seven eight"));
  const Tokens tokens = generate(prompt, greedy(12)).tokens;
  for (const std::size_t chunk : {1u, 7u, 64u}) {
    const auto engine = load_demo({.threads = 2, .context = 256, .prefill_chunk = chunk});
    Session session(*engine);
    EXPECT_EQ(generate(session, prompt, greedy(12)).tokens, tokens) << chunk;
  }
}

TEST(Session, ProgressOfThePromptIsReported) {
  Reports reports;
  const auto engine = load_reporting("reading the prompt", reports);
  Session session(*engine);
  const Tokens prompt(20, 1000);
  generate(session, prompt, greedy(1));
  ASSERT_GE(reports.size(), 3u);
  EXPECT_EQ(reports.front().first, 8u);
  EXPECT_EQ(reports.back(), std::pair(prompt.size(), prompt.size()));
}

TEST(Session, PiecesAreWhatTheAnswerHolds) {
  for (const bool thinking : {false, true}) {
    std::string content, reasoning;
    GenerateOptions options = sampled(60, 3);
    options.sampling.logit_bias = {{kEndThink, -100.0f}, {kToolCall, -100.0f}, {kThink, -100.0f}};
    options.thinking = thinking;
    options.reasoning_budget = 20;
    const Generation answer = generate(thinking_prompt(), options, [&](const Piece& piece) {
      EXPECT_FALSE(piece.text.empty());
      (piece.reasoning ? reasoning : content) += piece.text;
      return Continue::yes;
    });
    EXPECT_EQ(answer.content, content);
    EXPECT_EQ(answer.reasoning, reasoning);
    EXPECT_EQ(reasoning.empty(), !thinking);
  }
}

TEST(Session, APromptThatKnowsNoThinkingIsContinuedToTheLetter) {
  std::string streamed;
  const Generation answer = generate(ids("Hello"), sampled(40, 9), [&](const Piece& piece) {
    EXPECT_FALSE(piece.reasoning);
    streamed += piece.text;
    return Continue::yes;
  });
  EXPECT_EQ(answer.content, text(answer.tokens));
  EXPECT_EQ(streamed, answer.content);
}

TEST(Session, MaxTokensEndsTheAnswer) {
  for (const std::size_t most : {0u, 1u, 5u}) {
    const Generation answer = generate(ids("Hello"), greedy(most));
    EXPECT_EQ(answer.tokens.size(), most);
    EXPECT_EQ(answer.finish, FinishReason::length);
  }
}

TEST(Session, AFullContextEndsTheAnswer) {
  const auto engine = load_demo({.threads = 1, .context = 32});
  Session session(*engine);
  const Generation answer = generate(session, Tokens(30, 1000), greedy(100));
  EXPECT_EQ(answer.tokens.size(), 2u);
  EXPECT_EQ(answer.finish, FinishReason::length);
}

TEST(Session, AnEndTokenEndsTheAnswerUnlessItIsIgnored) {
  GenerateOptions options = greedy(10);
  options.sampling.logit_bias = {{11, 1e6f}};
  EXPECT_EQ(generate(ids("Hello"), options).tokens.size(), 10u);
  options.ignore_eos = false;
  const Generation answer = generate(ids("Hello"), options);
  EXPECT_EQ(answer.tokens, Tokens{11});
  EXPECT_EQ(answer.finish, FinishReason::stop);
  EXPECT_EQ(answer.content, "");
}

TEST(Session, AStopTextEndsTheAnswerBeforeIt) {
  GenerateOptions options = sampled(60, 11);
  const std::string whole = generate(ids("Hello"), options).content;
  ASSERT_GT(whole.size(), 40u);
  // Wherever the text begins and ends: inside a token, or across several.
  for (std::size_t begin = 8; begin < 20; ++begin) {
    if ((static_cast<unsigned char>(whole[begin]) & 0xc0) == 0x80) continue;
    options.stop = {"never there", whole.substr(begin, 9)};
    std::string streamed;
    const Generation answer = generate(ids("Hello"), options, [&](const Piece& piece) {
      streamed += piece.text;
      return Continue::yes;
    });
    EXPECT_EQ(answer.finish, FinishReason::stop);
    EXPECT_EQ(answer.content, whole.substr(0, whole.find(options.stop[1])));
    EXPECT_EQ(streamed, answer.content);
    EXPECT_LT(answer.tokens.size(), 60u);
  }
}

TEST(Session, ThinkingEndsWhenBudgetAndGraceAreSpent) {
  GenerateOptions options = sampled(40, 5);
  options.sampling.logit_bias = {{kEndThink, -100.0f}, {kToolCall, -100.0f}, {kThink, -100.0f}};
  options.reasoning_budget = 10;
  options.reasoning_grace = 6;
  const Generation answer = generate(thinking_prompt(), options);
  const auto end = std::ranges::find(answer.tokens, kEndThink);
  ASSERT_NE(end, answer.tokens.end());
  const auto thought = static_cast<std::size_t>(end - answer.tokens.begin());
  EXPECT_GE(thought, 10u);
  EXPECT_LE(thought, 16u);
  EXPECT_EQ(answer.reasoning_tokens, thought);
  // It came at the first chance: the end of a sentence, or when the grace was spent.
  for (std::size_t index = 9; index + 1 < thought; ++index)
    EXPECT_FALSE(ends_sentence(demo().vocabulary().tokenizer.token_bytes(answer.tokens[index])));
  EXPECT_TRUE(thought == 16 ||
              ends_sentence(demo().vocabulary().tokenizer.token_bytes(*(end - 1))));
  EXPECT_FALSE(answer.reasoning.empty());
  EXPECT_FALSE(answer.content.empty());
}

TEST(Session, ABudgetOfNothingAnswersAtOnce) {
  GenerateOptions options = greedy(4);
  options.reasoning_budget = 0;
  const Generation answer = generate(thinking_prompt(), options);
  EXPECT_EQ(answer.tokens.front(), kEndThink);
  EXPECT_EQ(answer.reasoning, "");
  EXPECT_EQ(answer.reasoning_tokens, 0u);
}

TEST(Session, TheForcedEndOfThoughtIsReadByTheModel) {
  // What follows is what follows when the caller had written </think> himself.
  GenerateOptions options = greedy(6);
  options.reasoning_budget = 0;
  const Tokens forced = generate(thinking_prompt(), options).tokens;
  const Tokens written = generate(joined(thinking_prompt(), {kEndThink}), greedy(5)).tokens;
  EXPECT_EQ(Tokens(forced.begin() + 1, forced.end()), written);
}

TEST(Session, WithoutThinkingThereIsNoBudget) {
  GenerateOptions options = sampled(30, 5);
  options.sampling.logit_bias = {{kEndThink, -100.0f}};
  options.reasoning_budget = 0;
  EXPECT_THAT(generate(ids("Hello"), options).tokens, Not(Contains(kEndThink)));
}

TEST(Session, BannedTokensAreNeverSampled) {
  GenerateOptions options = sampled(40, 1);
  options.sampling.temperature = 100.0f;
  for (const TokenId media : demo().vocabulary().media)
    options.sampling.logit_bias[media] = 1e6f;  // asking for them does not help
  options.sampling.logit_bias[1010] = -100.0f;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    options.sampling.seed = seed;
    for (const TokenId token : generate(ids("Hello"), options).tokens) {
      EXPECT_THAT(demo().vocabulary().media, Not(Contains(token)));
      EXPECT_NE(token, 1010u);
    }
  }
}

TEST(Session, TheCallbackCancels) {
  int pieces = 0;
  const Generation answer = generate(ids("Hello"), sampled(200, 2), [&](const Piece&) {
    return ++pieces == 3 ? Continue::no : Continue::yes;
  });
  EXPECT_EQ(answer.finish, FinishReason::cancelled);
  EXPECT_EQ(pieces, 3);
  EXPECT_LT(answer.tokens.size(), 200u);
  EXPECT_FALSE(answer.content.empty());
}

TEST(Session, AnotherThreadCancels) {
  Cancel cancel;
  std::atomic<bool> started = false;
  std::jthread other([&] {
    started.wait(false);
    cancel.request();
  });
  Session session(demo());
  const Generation answer = generate(
      session, ids("Hello"), sampled(1900, 2),
      [&](const Piece&) {
        started = true;
        started.notify_all();
        return Continue::yes;
      },
      &cancel);
  EXPECT_EQ(answer.finish, FinishReason::cancelled);
  EXPECT_LT(answer.tokens.size(), 1900u);
  cancel.reset();
  EXPECT_EQ(generate(session, ids("Hello"), greedy(5), {}, &cancel).tokens,
            generate(ids("Hello"), greedy(5)).tokens);
}

TEST(Session, CancellingThePromptKeepsTheChunksThatWereRead) {
  Cancel cancel;
  std::size_t chunks = 0;
  const auto engine = load_demo({.threads = 1,
                                 .context = 256,
                                 .prefill_chunk = 8,
                                 .progress = [&](std::string_view what, std::size_t, std::size_t) {
                                   if (what == "reading the prompt" && ++chunks == 2)
                                     cancel.request();
                                 }});
  Session session(*engine);
  const Tokens prompt = ids("One, two, three, four, five, six, seven, eight, nine, ten, eleven.");
  ASSERT_GT(prompt.size(), 20u);
  const Generation stopped = generate(session, prompt, greedy(6), {}, &cancel);
  EXPECT_EQ(stopped.finish, FinishReason::cancelled);
  EXPECT_TRUE(stopped.tokens.empty());
  EXPECT_EQ(session.position(), 16u);
  const Generation resumed = generate(session, prompt, greedy(6));
  EXPECT_EQ(resumed.reused_tokens, 16u);
  EXPECT_EQ(resumed.tokens, generate(prompt, greedy(6)).tokens);
}

TEST(Session, APromptThatGoesOnIsNotReadAgain) {
  Session session(demo());
  const Tokens first = ids("Once upon a time");
  const Generation start = generate(session, first, greedy(10));
  EXPECT_EQ(start.reused_tokens, 0u);
  EXPECT_EQ(session.position(), first.size() + 9);

  const Tokens second = joined(joined(first, start.tokens), ids(" And then"));
  const Generation next = generate(session, second, greedy(10));
  EXPECT_EQ(next.reused_tokens, first.size() + 9);
  EXPECT_EQ(next.prompt_tokens, second.size());
  EXPECT_EQ(next.tokens, generate(second, greedy(10)).tokens);
}

TEST(Session, ANewTurnReusesTheConversationUpToTheLastAnswer) {
  // Once it is history, the template drops the thought, so the held tokens differ from there on.
  Session session(demo());
  const std::string turn = "<|im_start|>user\nHello<|im_end|>\n";
  const Generation start =
      generate(session, ids(turn + "<|im_start|>assistant\n<think>\n"), greedy(20));
  const Tokens second = ids(turn + "<|im_start|>assistant\n<think></think>Hi.<|im_end|>\n" + turn +
                            "<|im_start|>assistant\n<think>\n");
  const Generation next = generate(session, second, greedy(20));
  EXPECT_EQ(next.reused_tokens, ids(turn).size());
  EXPECT_EQ(next.tokens, generate(second, greedy(20)).tokens);
}

TEST(Session, AnAnswerCanBeAskedForAnewAndTheLastMessageEdited) {
  Session session(demo());
  const std::string history = "<|im_start|>user\nHello<|im_end|>\n";
  const std::string header = "<|im_start|>assistant\n<think></think>";
  const Tokens first = ids(history + header);
  const Tokens answer = generate(session, first, greedy(8)).tokens;
  const Generation anew = generate(session, first, greedy(8));
  EXPECT_EQ(anew.tokens, answer);
  EXPECT_EQ(anew.reused_tokens, ids(history).size());

  const std::string said = history + header + "Hi.<|im_end|>\n<|im_start|>user\n";
  generate(session, ids(said + "One?<|im_end|>\n" + header), greedy(8));
  const Tokens edited = ids(said + "Two?<|im_end|>\n" + header);
  const Generation other = generate(session, edited, greedy(8));
  EXPECT_GE(other.reused_tokens, ids(history).size());
  EXPECT_EQ(other.tokens, generate(edited, greedy(8)).tokens);
}

TEST(Session, AnUnrelatedPromptStartsAnew) {
  Session session(demo());
  generate(session, ids("Once upon a time"), greedy(10));
  const Tokens other = ids("The weather");
  const Generation answer = generate(session, other, greedy(10));
  EXPECT_EQ(answer.reused_tokens, 0u);
  EXPECT_EQ(answer.tokens, generate(other, greedy(10)).tokens);
  session.reset();
  EXPECT_EQ(session.position(), 0u);
  EXPECT_EQ(generate(session, other, greedy(10)).tokens, answer.tokens);
}

TEST(Session, APointToGoBackToIsOnlyUsedForAPromptThatReachesBeyondIt) {
  // The point lies before the last token of a raw prompt.
  const Tokens prompt = ids("Once upon a time there was");
  Tokens shorter(prompt.begin(), prompt.end() - 1), changed = prompt;
  changed[prompt.size() - 2] = ids("!").front();
  for (const Tokens& next : {shorter, changed}) {
    Session session(demo());
    generate(session, prompt, greedy(6));
    const Generation answer = generate(session, next, greedy(6));
    EXPECT_EQ(answer.reused_tokens, 0u);
    EXPECT_EQ(answer.tokens, generate(next, greedy(6)).tokens);
  }
}

TEST(Session, RandomConversationsReuseWithoutChangingAnswers) {
  Random random(17);
  Session session(demo());
  Tokens prompt = ids("<|im_start|>user\nHello");
  for (int round = 0; round < 12; ++round) {
    const Generation answer = generate(session, prompt, greedy(6));
    EXPECT_EQ(answer.tokens, generate(prompt, greedy(6)).tokens) << round;
    if (random.uniform() < 0.5) prompt = joined(prompt, answer.tokens);
    if (random.uniform() < 0.4) prompt.resize(1 + random.bits() % prompt.size());
    if (random.uniform() < 0.7) prompt = joined(prompt, ids("\n<|im_start|>user\nAnd?"));
  }
}

TEST(Session, APromptThatLeavesNoRoomIsRefusedAndChangesNothing) {
  const auto engine = load_demo({.threads = 1, .context = 32});
  Session session(*engine);
  generate(session, ids("Hello"), greedy(4));
  const std::size_t held = session.position();
  const Error error = error_of(session.generate(Tokens(32, 1000), greedy(1), {}, nullptr));
  EXPECT_EQ(error.code, ErrorCode::too_large);
  EXPECT_THAT(error.what, HasSubstr("32 tokens leaves no room in the context of 32"));
  EXPECT_EQ(session.position(), held);
}

TEST(Session, WrongRequestsAreRefusedAndChangeNothing) {
  Session session(demo());
  generate(session, ids("Hello"), greedy(4));
  const std::size_t held = session.position();
  const auto error = [&](const Tokens& prompt, const GenerateOptions& options) {
    return error_of(session.generate(prompt, options, {}, nullptr));
  };
  EXPECT_EQ(error({}, greedy(1)).code, ErrorCode::usage);
  const Error outside = error({5, 2048}, greedy(1));
  EXPECT_EQ(outside.code, ErrorCode::mismatch);
  EXPECT_THAT(outside.what, HasSubstr("token 2048"));
  EXPECT_EQ(outside.where, "position 1");

  GenerateOptions options = greedy(1);
  options.stop = {""};
  EXPECT_EQ(error({5}, options).code, ErrorCode::usage);
  options = greedy(1);
  options.sampling.top_p = 2.0f;
  EXPECT_EQ(error({5}, options).code, ErrorCode::usage);
  EXPECT_EQ(session.position(), held);
}

TEST(Session, BanningEveryTokenIsAnError) {
  GenerateOptions options = greedy(1);
  for (TokenId id = 0; id < demo().vocabulary().size; ++id)
    options.sampling.logit_bias[id] = -100.0f;
  Session session(demo());
  EXPECT_EQ(error_of(session.generate(Tokens{5}, options, {}, nullptr)).code, ErrorCode::usage);
  EXPECT_EQ(generate(session, ids("Hello"), greedy(5)).tokens,
            generate(ids("Hello"), greedy(5)).tokens);
}

TEST(Session, LogitsOfChunksAreThoseOfTheWhole) {
  const Tokens tokens = ids("The quick brown fox jumps over the lazy dog");
  const std::size_t vocabulary = demo().vocabulary().size;
  Session whole(demo()), parts(demo());
  const auto expected = whole.logits(tokens, nullptr);
  ASSERT_TRUE(expected);
  ASSERT_EQ(expected->size(), tokens.size() * vocabulary);
  std::vector<float> logits;
  for (const TokenId token : tokens) {
    const auto one = parts.logits({&token, 1}, nullptr);
    ASSERT_TRUE(one);
    logits.insert(logits.end(), one->begin(), one->end());
  }
  EXPECT_TRUE(logits == *expected);
  EXPECT_EQ(parts.position(), tokens.size());

  // And greedy generation follows them.
  const auto last = std::span(*expected).last(vocabulary);
  EXPECT_EQ(generate(tokens, greedy(1)).tokens, Tokens{argmax(last)});
}

TEST(Session, LogitsThatDoNotFitAreRefused) {
  const auto engine = load_demo({.threads = 1, .context = 32});
  Session session(*engine);
  ASSERT_TRUE(session.logits(Tokens(20, 1000), nullptr));
  const auto result = session.logits(Tokens(13, 1000), nullptr);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::too_large);
  EXPECT_EQ(session.position(), 20u);
  EXPECT_TRUE(session.logits(Tokens(12, 1000), nullptr));
  Cancel cancel;
  cancel.request();
  session.reset();
  EXPECT_EQ(session.logits(Tokens(3, 1000), &cancel).error().code, ErrorCode::cancelled);
}

TEST(Session, SessionsOfOneEngineRunAtTheSameTime) {
  const std::vector<Tokens> prompts = {ids("Once upon"), ids("The weather"), ids("Two and two")};
  std::vector<Tokens> expected(prompts.size()), answers(prompts.size());
  for (std::size_t index = 0; index < prompts.size(); ++index)
    expected[index] = generate(prompts[index], sampled(16, index)).tokens;
  {
    std::vector<std::jthread> threads;
    for (std::size_t index = 0; index < prompts.size(); ++index)
      threads.emplace_back(
          [&, index] { answers[index] = generate(prompts[index], sampled(16, index)).tokens; });
  }
  EXPECT_EQ(answers, expected);
}

TEST(Session, ACallbackMayUseTheSameEngine) {
  Session other(demo());
  bool asked = false;
  generate(ids("Hello"), sampled(10, 4), [&](const Piece&) {
    if (!asked) {
      EXPECT_EQ(generate(other, ids("Hello"), greedy(2)).tokens.size(), 2u);
    }
    asked = true;
    return Continue::yes;
  });
  EXPECT_TRUE(asked);
}

}  // namespace
}  // namespace tern::engine
