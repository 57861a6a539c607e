#include "engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "engine/session.h"
#include "engine/testing.h"

namespace tern::engine {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Le;
using testing::load_demo;
using testing::load_reporting;
using testing::Reports;
using Tokens = std::vector<TokenId>;

/// Prompts of different lengths, kinds of answers and lengths of answers.
std::vector<Job> jobs(const Engine& engine, std::size_t count) {
  const char* const texts[] = {"Once upon a time", "Hello", "One two three four five six seven",
                               "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n"};
  std::vector<Job> all;
  for (std::size_t i = 0; i < count; ++i) {
    std::string text;
    for (std::size_t n = 0; n <= i % 5; ++n) text += texts[i % 4];
    Job job{.prompt = engine.vocabulary().tokenizer.encode(text)};
    job.options.max_tokens = 5 + 7 * i % 20;
    job.options.sampling.temperature = i % 2 == 0 ? 0.0f : 1.2f;
    job.options.sampling.seed = i;
    job.options.ignore_eos = true;
    all.push_back(std::move(job));
  }
  return all;
}

Generation alone(Engine& engine, const Job& job) {
  Session session(engine);
  auto result = session.generate(job.prompt, job.options, {}, nullptr);
  EXPECT_TRUE(result) << result.error().message();
  return result ? *std::move(result) : Generation{};
}

/// Submits all of them. @return a place for what each of them answers
std::unique_ptr<std::vector<Result<Generation>>> submit(Scheduler& scheduler,
                                                        const std::vector<Job>& all) {
  auto results = std::make_unique<std::vector<Result<Generation>>>(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    Job job = all[i];
    job.on_done = [place = &(*results)[i]](auto result) { *place = std::move(result); };
    scheduler.submit(std::move(job));
  }
  return results;
}

/// Steps to the end. @return how many ran together, after each step
std::vector<std::size_t> finish(Scheduler& scheduler) {
  std::vector<std::size_t> running;
  while (scheduler.step()) running.push_back(scheduler.running());
  EXPECT_EQ(scheduler.waiting(), 0u);
  return running;
}

TEST(Scheduler, ProgressOfAllPromptsIsReported) {
  Reports reports;
  const auto engine = load_reporting("reading the prompts", reports);
  Scheduler scheduler(*engine, {.sequences = 2});
  Cancel cancel;
  std::vector<Job> all(4, Job{.prompt = Tokens(20, 1000)});
  for (Job& job : all) job.options.max_tokens = 2;
  all[3].cancel = &cancel;
  cancel.request();
  const auto results = submit(scheduler, all);
  finish(scheduler);
  ASSERT_GE(reports.size(), 8u);  // 60 tokens in pieces of at most 8
  EXPECT_THAT(reports, Each(::testing::Field(&Reports::value_type::second, 80u)));
  EXPECT_TRUE(std::ranges::is_sorted(reports));
  EXPECT_EQ(reports.back().first, 80u);
}

TEST(Scheduler, AnswersAreTheSameAloneAndTogether) {
  for (const auto& [threads, chunk] : {std::pair{1u, 64u}, {2u, 7u}, {2u, 1u}}) {
    const auto engine = load_demo({.threads = threads, .context = 512, .prefill_chunk = chunk});
    const auto all = jobs(*engine, 9);
    for (const std::size_t sequences : {1u, 3u, 16u}) {
      Scheduler scheduler(*engine, {.sequences = sequences});
      const auto results = submit(scheduler, all);
      finish(scheduler);
      for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_TRUE((*results)[i]) << (*results)[i].error().message();
        const Generation expected = alone(*engine, all[i]);
        EXPECT_EQ((*results)[i]->tokens, expected.tokens) << i << " of " << sequences;
        EXPECT_EQ((*results)[i]->content, expected.content);
        EXPECT_EQ((*results)[i]->reasoning, expected.reasoning);
        EXPECT_EQ((*results)[i]->prompt_tokens, all[i].prompt.size());
      }
    }
  }
}

TEST(Scheduler, CodedKeysAndValuesChangeNothingAboutThat) {
  LoadOptions options{.threads = 2, .context = 512, .prefill_chunk = 16};
  options.kv.keys = "turbo4";
  options.kv.values = "turbo3";
  options.kv.recent = 8;
  const auto engine = load_demo(options);
  const auto all = jobs(*engine, 5);
  Scheduler scheduler(*engine, {});
  const auto results = submit(scheduler, all);
  finish(scheduler);
  for (std::size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ((*results)[i]->tokens, alone(*engine, all[i]).tokens) << i;
}

TEST(Scheduler, WhoWaitsJoinsWhenSomebodyLeaves) {
  const auto engine = load_demo({.threads = 1, .context = 256});
  auto all = jobs(*engine, 6);
  Scheduler scheduler(*engine, {.sequences = 2});
  const auto results = submit(scheduler, all);
  const auto running = finish(scheduler);
  EXPECT_THAT(running, Each(Le(2u)));
  std::size_t tokens = 0, longest = 0;
  for (const auto& result : *results) {
    tokens += result->tokens.size();
    longest = std::max(longest, result->tokens.size());
  }
  // Two at a time all the way, not pair after pair.
  EXPECT_LE(running.size(), tokens / 2 + longest);
}

TEST(Scheduler, TextsAppearTogether) {
  const auto engine = load_demo({.threads = 1, .context = 256});
  auto all = jobs(*engine, 2);
  std::string order;
  for (std::size_t i = 0; i < 2; ++i) {
    all[i].options.max_tokens = 12;
    all[i].on_piece = [&order, i](const Piece&) {
      order += i == 0 ? 'a' : 'b';
      return Continue::yes;
    };
  }
  Scheduler scheduler(*engine, {});
  const auto results = submit(scheduler, all);
  finish(scheduler);
  EXPECT_LT(order.find('b'), order.rfind('a'));
  EXPECT_LT(order.find('a'), order.rfind('b'));
}

TEST(Scheduler, PromptsAreReadWhileOthersWrite) {
  const auto engine = load_demo({.threads = 1, .context = 512, .prefill_chunk = 8});
  std::vector<Job> all = jobs(*engine, 1);
  all[0].options.max_tokens = 40;
  std::size_t written = 0;
  all[0].on_piece = [&](const Piece&) { return ++written, Continue::yes; };
  Scheduler scheduler(*engine, {});
  const auto first = submit(scheduler, all);
  while (written == 0) scheduler.step();
  std::vector<Job> late = {{.prompt = Tokens(100, 1000)}};
  late[0].options.max_tokens = 1;
  const auto second = submit(scheduler, late);
  const std::size_t before = written;
  for (int i = 0; i < 10; ++i) scheduler.step();
  EXPECT_GT(written, before + 4);
  EXPECT_EQ(scheduler.running(), 2u);
  finish(scheduler);
  EXPECT_EQ((*first)[0]->tokens, alone(*engine, all[0]).tokens);
  EXPECT_EQ((*second)[0]->tokens, alone(*engine, late[0]).tokens);
}

TEST(Scheduler, ACancelStopsItsOwnRequestWithinAStep) {
  const auto engine = load_demo({.threads = 2, .context = 256});
  auto all = jobs(*engine, 4);
  Cancel running, waiting;
  for (Job& job : all) job.options.max_tokens = 30;
  all[0].cancel = &running;
  all[3].cancel = &waiting;
  Scheduler scheduler(*engine, {.sequences = 3});
  const auto results = submit(scheduler, all);
  for (int i = 0; i < 5; ++i) scheduler.step();
  running.request();
  waiting.request();
  scheduler.step();
  EXPECT_EQ(scheduler.running(), 2u);
  EXPECT_EQ(scheduler.waiting(), 0u);
  finish(scheduler);
  const Tokens whole = alone(*engine, {.prompt = all[0].prompt, .options = all[0].options}).tokens;
  const Generation& stopped = *(*results)[0];
  EXPECT_EQ(stopped.finish, FinishReason::cancelled);
  ASSERT_LE(stopped.tokens.size(), 5u);
  EXPECT_TRUE(std::equal(stopped.tokens.begin(), stopped.tokens.end(), whole.begin()));
  EXPECT_EQ((*results)[3]->finish, FinishReason::cancelled);
  EXPECT_TRUE((*results)[3]->tokens.empty());
  for (const std::size_t i : {1u, 2u})
    EXPECT_EQ((*results)[i]->tokens, alone(*engine, all[i]).tokens);
}

TEST(Scheduler, ACallbackThatSaysNoStopsItsOwnRequest) {
  const auto engine = load_demo({.threads = 1, .context = 256});
  auto all = jobs(*engine, 2);
  all[0].on_piece = [](const Piece&) { return Continue::no; };
  Scheduler scheduler(*engine, {});
  const auto results = submit(scheduler, all);
  finish(scheduler);
  EXPECT_EQ((*results)[0]->finish, FinishReason::cancelled);
  EXPECT_EQ((*results)[1]->finish, FinishReason::length);
}

TEST(Scheduler, ABadRequestFailsAlone) {
  const auto engine = load_demo({.threads = 1, .context = 64});
  auto all = jobs(*engine, 5);
  all[0].prompt.clear();
  all[1].prompt = {0xffffffff};
  all[2].prompt.assign(64, 1000);
  all[3].options.sampling.top_p = -1.0f;
  Scheduler scheduler(*engine, {});
  const auto results = submit(scheduler, all);
  finish(scheduler);
  const ErrorCode codes[] = {ErrorCode::usage, ErrorCode::mismatch, ErrorCode::too_large,
                             ErrorCode::usage};
  for (std::size_t i = 0; i < 4; ++i) {
    ASSERT_FALSE((*results)[i]) << i;
    EXPECT_EQ((*results)[i].error().code, codes[i]) << i;
  }
  EXPECT_EQ((*results)[4]->tokens, alone(*engine, all[4]).tokens);
}

TEST(Scheduler, MemoryLimitsHowManyRunTogether) {
  const auto engine = load_demo({.threads = 1, .context = 256});
  auto all = jobs(*engine, 5);
  std::size_t largest = 0;
  for (const Job& job : all)
    largest = std::max(largest, job.prompt.size() + *job.options.max_tokens);
  for (const auto& [memory, most] :
       {std::pair<std::uint64_t, std::size_t>{1, 1}, {2 * engine->bytes_of(largest), 2}}) {
    Scheduler scheduler(*engine, {.memory = memory});
    const auto results = submit(scheduler, all);
    std::size_t together = 0;
    while (scheduler.step()) together = std::max(together, scheduler.running());
    EXPECT_LE(together, most + (most == 1 ? 0 : 1));  // smaller ones may be three
    EXPECT_GE(together, most);
    for (const auto& result : *results) EXPECT_TRUE(result);
  }
}

TEST(Scheduler, ASessionGoesOnInABatch) {
  const auto engine = load_demo({.threads = 1, .context = 512});
  Job first = jobs(*engine, 1)[0];
  Session session(*engine), other(*engine);
  const Generation begun = *session.generate(first.prompt, first.options, {}, nullptr);
  ASSERT_TRUE(other.generate(first.prompt, first.options, {}, nullptr));
  std::vector<Job> all = jobs(*engine, 2);
  all[0].prompt = first.prompt;
  all[0].prompt.insert(all[0].prompt.end(), begun.tokens.begin(), begun.tokens.end());
  all[0].prompt.push_back(1000);
  all[0].context = &session.context();
  Scheduler scheduler(*engine, {});
  const auto results = submit(scheduler, all);
  finish(scheduler);
  const auto expected = other.generate(all[0].prompt, all[0].options, {}, nullptr);
  EXPECT_EQ((*results)[0]->tokens, expected->tokens);
  EXPECT_EQ((*results)[0]->reused_tokens, expected->reused_tokens);
  EXPECT_GT(expected->reused_tokens, first.prompt.size());
  EXPECT_EQ(session.position(), other.position());
}

TEST(Scheduler, ARequestMaySubmitTheNextOne) {
  const auto engine = load_demo({.threads = 1, .context = 256});
  Scheduler scheduler(*engine, {});
  std::vector<int> order;
  Job first = jobs(*engine, 1)[0], second = jobs(*engine, 2)[1];
  second.on_done = [&](auto result) { order.push_back(result ? 2 : -2); };
  first.on_done = [&](auto result) {
    order.push_back(result ? 1 : -1);
    scheduler.submit(std::move(second));
  };
  scheduler.submit(std::move(first));
  finish(scheduler);
  EXPECT_THAT(order, ElementsAre(1, 2));
}

TEST(GenerateBatch, AnswersInTheOrderOfTheRequests) {
  const auto model = tern::Model::load("demo", {.threads = 2, .context = 256});
  ASSERT_TRUE(model);
  std::vector<BatchRequest> requests;
  for (const char* text : {"Once", "Hello there", "", "One two"}) {
    requests.push_back({.prompt = model->tokenize(text)});
    requests.back().options.max_tokens = 6 + requests.size();
    requests.back().options.sampling.temperature = 0.0f;
  }
  const auto results = model->generate_batch(requests, {.sequences = 2});
  ASSERT_EQ(results.size(), requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    auto session = model->new_session();
    const auto expected = session.generate(requests[i].prompt, requests[i].options);
    ASSERT_EQ(results[i].has_value(), expected.has_value()) << i;
    if (expected)
      EXPECT_EQ(results[i]->tokens, expected->tokens);
    else
      EXPECT_EQ(results[i].error().code, expected.error().code);
  }
}

}  // namespace
}  // namespace tern::engine
