#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/session.h"
#include "engine/testing.h"

namespace tern::engine {
namespace {

using testing::demo_files;
using testing::Files;
using ::testing::HasSubstr;

Error load_error(std::string_view model, const LoadOptions& options = {}) {
  const auto engine = Engine::load(model, options);
  EXPECT_FALSE(engine);
  return engine ? Error{} : engine.error();
}

TEST(Engine, LoadsTheModelInsideTheLibrary) {
  const auto engine = Engine::load("demo", {.threads = 1});
  ASSERT_TRUE(engine) << engine.error().message();
  const ModelInfo info = (*engine)->info();
  EXPECT_EQ(info.name, "demo");
  EXPECT_EQ(info.architecture, "nemotron_h");
  EXPECT_EQ(info.container, "safetensors");
  EXPECT_GT(info.layers, 0u);
  EXPECT_EQ(info.vocabulary, (*engine)->vocabulary().tokenizer.vocabulary_size());
  EXPECT_GT(info.parameters, 1'000'000u);
  EXPECT_GT(info.weight_bytes, info.parameters);
  EXPECT_GT(info.state_bytes, 0u);
}

TEST(Engine, TheContextIsTheModelsOwnUnlessOneIsAskedFor) {
  const auto own = Engine::load("demo", {.threads = 1});
  ASSERT_TRUE(own);
  EXPECT_EQ((*own)->context(), (*own)->model().config().max_position_embeddings);
  EXPECT_EQ((*Engine::load("demo", {.threads = 1, .context = 100}))->context(), 100u);
}

TEST(Engine, ACacheOfTwiceTheWidthTakesTwiceTheMemory) {
  const auto bytes = [](const char* type) {
    return (*Engine::load("demo", {.threads = 1, .kv = {.keys = type}}))->info().kv_bytes_per_token;
  };
  EXPECT_EQ(bytes("f32"), 2 * bytes("f16"));
  EXPECT_EQ(bytes("bf16"), bytes("f16"));
}

TEST(Engine, AModelThatIsNotThereIsNamed) {
  const Error error = load_error("/no/such/model");
  EXPECT_EQ(error.code, ErrorCode::not_found);
  EXPECT_THAT(error.message(), HasSubstr("/no/such/model"));
}

TEST(Engine, OptionsOutsideTheirRangeAreNamed) {
  EXPECT_EQ(load_error("demo", {.threads = 5000}).where, "threads");
  EXPECT_EQ(load_error("demo", {.prefill_chunk = 0}).where, "prefill_chunk");
  EXPECT_EQ(load_error("demo", {.prefill_chunk = 100'000}).where, "prefill_chunk");
  EXPECT_EQ(load_error("demo", {.context = std::size_t{1} << 50}).code, ErrorCode::too_large);
}

TEST(Engine, OpeningIsReported) {
  std::vector<std::size_t> reports;
  ASSERT_TRUE(Engine::load(
      "demo", {.threads = 1, .progress = [&](std::string_view what, std::size_t done, std::size_t) {
                 if (what == "opening") reports.push_back(done);
               }}));
  EXPECT_THAT(reports, ::testing::ElementsAre(0, 1, 2));
}

TEST(Engine, WeightsThatAreCutShortAreRefusedWithTheirFile) {
  Files files = demo_files();
  files.at("model.safetensors").resize(100'000);
  const auto engine = testing::load(files);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::corrupt);
  EXPECT_THAT(engine.error().message(), HasSubstr("model.safetensors"));
}

TEST(Engine, AConfigurationOfAnotherModelIsRefused) {
  Files files = demo_files();
  testing::replace(files.at("config.json"), "\"vocab_size\": 2048", "\"vocab_size\": 4096");
  const auto engine = testing::load(files);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::mismatch);
}

/// The demo model with NaN (bf16 0x7fc0) as the first weight of a tensor.
Files with_nan(std::string_view tensor) {
  Files files = demo_files();
  std::string& file = files.at("model.safetensors");
  const auto opened = testing::checkpoint(files).value();
  const Tensor* found = opened.tensors().find(tensor);
  if (!found) return {};
  const char* bytes = static_cast<const char*>(static_cast<const void*>(found->data.data()));
  file.replace(static_cast<std::size_t>(bytes - file.data()), 2, "\xc0\x7f");
  return files;
}

TEST(Engine, WeightsThatAreNotFiniteEndTheAnswerAndLeaveTheSessionUsable) {
  for (const char* tensor : {"lm_head.weight", "backbone.layers.0.mixer.in_proj.weight"}) {
    SCOPED_TRACE(tensor);
    const Files files = with_nan(tensor);
    const auto engine = testing::load(files, {.threads = 1, .context = 128});
    ASSERT_TRUE(engine) << engine.error().message();
    Session session(**engine);
    for (int attempt = 0; attempt < 2; ++attempt) {
      const auto result = session.generate(std::vector<TokenId>{1000, 1001}, {}, {}, nullptr);
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, ErrorCode::numeric) << result.error().message();
      EXPECT_LE(session.position(), 2u);
    }
  }
}

}  // namespace
}  // namespace tern::engine
