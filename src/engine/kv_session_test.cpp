// Conversations whose keys and values are codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/session.h"
#include "engine/testing.h"

namespace tern::engine {
namespace {

using ::testing::HasSubstr;
using Tokens = std::vector<TokenId>;

std::unique_ptr<Engine> demo(const KvOptions& kv, std::size_t threads = 2,
                             std::size_t prefill_chunk = 512, std::size_t context = 1024) {
  auto engine = Engine::load(
      "demo", {.threads = threads, .context = context, .kv = kv, .prefill_chunk = prefill_chunk});
  EXPECT_TRUE(engine) << engine.error().message();
  return *std::move(engine);
}

/// A text that the model knows how to go on with.
Tokens conversation(const Engine& engine, int first, int count) {
  std::string text = "<|im_start|>system\n<|im_end|>\n";
  for (int i = first; i < first + count; ++i)
    text += "<|im_start|>user\nSolve: " + std::to_string(11 + i) + " * " + std::to_string(7 + i) +
            "<|im_end|>\n<|im_start|>assistant\n<think></think>" + std::to_string(11 + i) + " * " +
            std::to_string(7 + i) + " = " + std::to_string((11 + i) * (7 + i)) + "<|im_end|>\n";
  return engine.vocabulary().tokenizer.encode(text);
}

std::vector<float> logits(const KvOptions& kv, std::size_t threads, std::size_t prefill_chunk,
                          std::size_t tokens) {
  const auto engine = demo(kv, threads, prefill_chunk);
  Tokens text = conversation(*engine, 0, 12);
  text.resize(tokens);
  Session session(*engine);
  auto result = session.logits(text, nullptr);
  EXPECT_TRUE(result) << result.error().message();
  return result.value_or(std::vector<float>());
}

/// Mean KL divergence of q's predictions from p's.
double divergence(const std::vector<float>& p, const std::vector<float>& q,
                  std::size_t vocabulary) {
  double sum = 0;
  for (std::size_t row = 0; row < p.size(); row += vocabulary) {
    const auto log_sum = [&](const std::vector<float>& logits) {
      double total = 0;
      for (std::size_t i = 0; i < vocabulary; ++i) total += std::exp(double{logits[row + i]});
      return std::log(total);
    };
    const double p_sum = log_sum(p), q_sum = log_sum(q);
    for (std::size_t i = 0; i < vocabulary; ++i) {
      const double p_log = p[row + i] - p_sum;
      sum += std::exp(p_log) * (p_log - (q[row + i] - q_sum));
    }
  }
  return sum / (static_cast<double>(p.size()) / static_cast<double>(vocabulary));
}

TEST(KvSession, GivesTheSameBitsOnAnyThreadsAndInAnyChunks) {
  for (const KvOptions& kv :
       {KvOptions{.keys = "turbo4", .sinks = 4, .recent = 16},
        KvOptions{.keys = "turbo3:f16", .sinks = 0, .recent = 0},
        KvOptions{.keys = "affine8:iso4", .sinks = 4, .recent = 70, .quantized_start = 90},
        KvOptions{.keys = "q4_0:turbo3_5", .sinks = 4, .recent = 5, .full_layers = {1}}}) {
    SCOPED_TRACE(kv.keys);
    const auto whole = logits(kv, 2, 512, 200);
    EXPECT_EQ(logits(kv, 1, 37, 200), whole);
    EXPECT_EQ(logits(kv, 3, 1, 200), whole);
  }
}

TEST(KvSession, ReusesAPrefixWithoutChangingTheAnswer) {
  for (const KvOptions& kv :
       {KvOptions{.keys = "turbo4", .sinks = 4, .recent = 16},
        KvOptions{.keys = "turbo2", .sinks = 4, .recent = 40, .quantized_start = 100},
        KvOptions{.keys = "turbo3:q8_0", .sinks = 0, .recent = 0}}) {
    SCOPED_TRACE(kv.keys);
    const auto engine = demo(kv, 2, 64);
    GenerateOptions greedy;
    greedy.sampling.temperature = 0.0f;
    greedy.max_tokens = 150;
    greedy.ignore_eos = true;
    const auto ask = [&](Session& session, const Tokens& prompt) {
      auto result = session.generate(prompt, greedy, {}, nullptr);
      EXPECT_TRUE(result) << result.error().message();
      return result.value_or(Generation{});
    };
    Tokens prompt = conversation(*engine, 0, 3);
    const Tokens last = engine->vocabulary().tokenizer.encode(
        "<|im_start|>user\nSolve: 52 + 17<|im_end|>\n<|im_start|>assistant\n<think></think>");
    prompt.insert(prompt.end(), last.begin(), last.end());
    Session session(*engine), fresh(*engine);
    const Generation first = ask(session, prompt);  // 150 tokens: the windows move on
    const Generation second = ask(session, prompt);
    EXPECT_GT(second.reused_tokens, 50u);
    EXPECT_EQ(second.tokens, first.tokens);
    EXPECT_EQ(second.tokens, ask(fresh, prompt).tokens);
    const Tokens more = conversation(*engine, 20, 1);
    const auto again = session.logits(more, nullptr), anew = fresh.logits(more, nullptr);
    ASSERT_TRUE(again && anew);
    EXPECT_EQ(*again, *anew);
  }
}

TEST(KvSession, CodesChangePredictionsALittle) {
  const auto vocabulary = demo({})->vocabulary().size;
  const auto exact = logits({}, 2, 512, 300);
  const auto loss = [&](const char* type) {
    return divergence(exact, logits({.keys = type, .sinks = 0, .recent = 0}, 2, 512, 300),
                      vocabulary);
  };
  const double turbo4 = loss("turbo4"), turbo3 = loss("turbo3"), turbo2 = loss("turbo2");
  RecordProperty("turbo4", std::to_string(turbo4));
  EXPECT_LT(loss("q8_0"), 0.002);
  EXPECT_LT(turbo4, 0.01);
  EXPECT_LT(turbo4, turbo3);
  EXPECT_LT(turbo3, turbo2);
  EXPECT_GT(turbo4, 0.0);
  EXPECT_EQ(divergence(exact, logits({.keys = "turbo4", .recent = 300}, 2, 512, 300), vocabulary),
            0.0);
}

TEST(StateSession, GoesOnFromPackedStateAsItsCodecAllows) {
  GenerateOptions greedy;
  greedy.sampling.temperature = 0.0f;
  greedy.max_tokens = 30;
  greedy.ignore_eos = true;
  const auto answers = [&](const std::string& codec, bool rest) {
    auto engine = Engine::load("demo", {.threads = 2, .context = 512, .state_codec = codec});
    EXPECT_TRUE(engine) << engine.error().message();
    const Tokens prompt = conversation(**engine, 0, 3);
    Session session(**engine);
    std::vector<Tokens> all;
    for (int i = 0; i < 2; ++i) {
      const auto generation = session.generate(prompt, greedy, {}, nullptr);
      EXPECT_TRUE(generation);
      all.push_back(generation->tokens);
      if (rest) {
        EXPECT_TRUE(session.rest());
      }
      if (i == 1) {
        EXPECT_GT(generation->reused_tokens, 20u);
      }
    }
    return all;
  };
  const auto exact = answers("f32", false);
  EXPECT_EQ(exact[0], exact[1]);
  EXPECT_EQ(answers("lossless", false), exact);
  EXPECT_EQ(answers("f32", true), exact);
  EXPECT_EQ(answers("q8", true), exact);  // a small loss changes no greedy token here
  EXPECT_EQ(Engine::load("demo", {.state_codec = "q5"}).error().where, "state_codec");
}

TEST(StateSession, StateThatWasPackedPredictsNearlyTheSame) {
  const auto engine = demo({});
  const std::size_t vocabulary = engine->vocabulary().size;
  Tokens text = conversation(*engine, 0, 16);
  ASSERT_GT(text.size(), 400u);
  text.resize(400);
  constexpr std::size_t kRead = 250;
  const auto tokens = std::span<const TokenId>(text);
  auto sequence = engine->new_sequence();
  ASSERT_TRUE(sequence);
  ASSERT_TRUE(engine->forward(tokens.first(kRead), *sequence, model::LogitsMode::none, {}));
  const double whole = static_cast<double>(engine->info().state_bytes);
  std::vector<float> exact;
  double last = 0;
  for (const state::StateCodec codec : state::kStateCodecs) {
    auto copy = sequence->fork();
    ASSERT_TRUE(copy);
    const auto bytes = copy->compress_state(codec);
    ASSERT_TRUE(bytes);
    std::vector<float> logits((text.size() - kRead) * vocabulary);
    ASSERT_TRUE(engine->forward(tokens.subspan(kRead), *copy, model::LogitsMode::all, logits));
    if (codec == state::StateCodec::f32) exact = logits;
    const double loss = divergence(exact, logits, vocabulary);
    const std::string codec_name(state::name(codec));
    RecordProperty(codec_name + "_size", std::to_string(static_cast<double>(*bytes) / whole));
    RecordProperty(codec_name + "_divergence", std::to_string(loss * 1e6) + "e-6");
    EXPECT_LE(loss, codec <= state::StateCodec::lossless ? 0.0 : 0.02) << codec_name;
    EXPECT_GE(loss, last) << codec_name;  // fewer bits lose more
    last = loss;
  }
}

TEST(KvSession, TheNameOfAModelChoosesItsCache) {
  const auto files = testing::demo_files();
  std::vector<formats::MemoryFile> views;
  for (const auto& [name, contents] : files)
    views.push_back({name, std::as_bytes(std::span(contents))});
  const auto load = [&](const char* name, const KvOptions& kv) {
    auto checkpoint = formats::Checkpoint::from_memory(name, views);
    EXPECT_TRUE(checkpoint);
    auto engine = Engine::load(*std::move(checkpoint), {.threads = 1, .context = 64, .kv = kv});
    EXPECT_TRUE(engine);
    return (*engine)->info();
  };
  const ModelInfo info = load("Nano-TurboQuant-MLX-4bit-TQ-KV", {});
  EXPECT_EQ(info.kv_keys, "turbo4");
  EXPECT_EQ(info.kv_values, "turbo4");
  EXPECT_TRUE(info.kv_from_name);
  EXPECT_GT(info.kv_window_bytes, 0u);
  EXPECT_EQ(load("Nano-RQ-KV", {}).kv_keys, "iso4");
  EXPECT_EQ(load("Nano-RQ-KV", {.keys = "f16"}).kv_keys, "f16");
  EXPECT_EQ(load("Nano", {}).kv_keys, "f16");
}

TEST(KvSession, AWrongCacheIsRefusedWhenTheModelIsLoaded) {
  const auto refusal = [](const KvOptions& kv) {
    const auto engine = Engine::load("demo", {.threads = 1, .context = 64, .kv = kv});
    EXPECT_FALSE(engine);
    return engine ? Error{} : engine.error();
  };
  EXPECT_EQ(refusal({.keys = "turbo9"}).code, ErrorCode::usage);
  const Error layer = refusal({.keys = "turbo4", .full_layers = {77}});
  EXPECT_EQ(layer.code, ErrorCode::usage);
  EXPECT_THAT(layer.message(), HasSubstr("77"));
}

}  // namespace
}  // namespace tern::engine
