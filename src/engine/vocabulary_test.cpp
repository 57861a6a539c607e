#include "engine/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/defaults.h"
#include "engine/testing.h"

namespace tern::engine {
namespace {

using testing::demo_files;
using ::testing::ElementsAre;
using testing::Files;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

Result<Vocabulary> vocabulary_of(const Files& files) {
  TERN_TRY(const formats::Checkpoint checkpoint, testing::checkpoint(files));
  TERN_TRY(const model::Config config, model::Config::from(checkpoint));
  return Vocabulary::load(checkpoint, config);
}

Result<Defaults> defaults_of(const Files& files) {
  TERN_TRY(const formats::Checkpoint checkpoint, testing::checkpoint(files));
  return Defaults::load(checkpoint);
}

Files with_file(const std::string& name, const std::string& contents) {
  Files files = demo_files();
  files[name] = contents;
  return files;
}

TEST(Vocabulary, KnowsTheTokensThatEndAnAnswer) {
  EXPECT_THAT(vocabulary_of(demo_files())->end_tokens, ElementsAre(2, 11));
  EXPECT_THAT(
      vocabulary_of(with_file("generation_config.json", R"({"eos_token_id": 40})"))->end_tokens,
      ElementsAre(2, 11, 40));
  EXPECT_THAT(
      vocabulary_of(with_file("tokenizer_config.json", R"({"eos_token": "[INST]"})"))->end_tokens,
      ElementsAre(2, 3, 11));
}

TEST(Vocabulary, KnowsThePlaceholdersOfMedia) {
  EXPECT_THAT(vocabulary_of(demo_files())->media, ElementsAre(18, 19, 20, 27, 28, 29));
}

TEST(Vocabulary, KnowsThePlaceholdersOfATextOnlyTokenizerByTheirNumbers) {
  Files files = demo_files();
  std::string& tokenizer = files.at("tokenizer.json");
  for (const auto& [text, number] : std::map<std::string, std::string>{
           {"<image>", "18"}, {"<img>", "19"}, {"</img>", "20"}, {"<so_start>", "28"}})
    testing::replace(tokenizer, "\"" + text + "\"", "\"<SPECIAL_" + number + ">\"");
  const auto vocabulary = vocabulary_of(files);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message();
  EXPECT_THAT(vocabulary->media, ElementsAre(18, 19, 20, 27, 28, 29));
}

TEST(Vocabulary, SeesFromTheLastThinkTagWhetherThePromptLeavesTheModelThinking) {
  const Vocabulary vocabulary = vocabulary_of(demo_files()).value();
  const auto thinking = [&](std::string_view prompt) {
    return vocabulary.thinking_after(vocabulary.tokenizer.encode(prompt));
  };
  EXPECT_EQ(thinking("<|im_start|>assistant\n<think>\n"), true);
  EXPECT_EQ(thinking("<|im_start|>assistant\n<think></think>"), false);
  EXPECT_EQ(thinking("<think></think>Hello<|im_end|>\n<|im_start|>assistant\n<think>\nHm"), true);
  EXPECT_EQ(thinking("<think>Hm</think>\nHello"), false);
  EXPECT_EQ(thinking("Hello"), std::nullopt);
  EXPECT_EQ(thinking(""), std::nullopt);
}

TEST(Vocabulary, ATokenizerOfALargerModelIsRefused) {
  Files files = demo_files();
  testing::replace(files.at("tokenizer.json"), "\"added_tokens\": [",
                   R"("added_tokens": [{"id": 2048, "content": "<extra>", "single_word": false,
                       "lstrip": false, "rstrip": false, "normalized": false, "special": true},)");
  const auto result = vocabulary_of(files);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::mismatch);
  EXPECT_THAT(result.error().what, HasSubstr("2049 tokens, the model has embeddings for 2048"));
}

TEST(Vocabulary, AnEndTokenOutsideTheVocabularyIsRefusedWithItsFile) {
  const auto result =
      vocabulary_of(with_file("generation_config.json", R"({"eos_token_id": [2, 131071]})"));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::mismatch);
  EXPECT_EQ(result.error().where, "variant/generation_config.json");
  EXPECT_THAT(result.error().what, HasSubstr("131071"));
}

TEST(Vocabulary, EndTokensThatAreNoNumbersAreCorrupt) {
  for (const char* ids : {"\"two\"", "[2, -1]", "[[2]]", "1.5"}) {
    const auto result = vocabulary_of(
        with_file("generation_config.json", R"({"eos_token_id": )" + std::string(ids) + "}"));
    ASSERT_FALSE(result) << ids;
    EXPECT_EQ(result.error().code, ErrorCode::corrupt) << ids;
  }
}

TEST(Vocabulary, AModelWithoutATokenizerIsRefused) {
  Files files = demo_files();
  files.erase("tokenizer.json");
  const auto result = vocabulary_of(files);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_found);
  EXPECT_THAT(result.error().message(), HasSubstr("tokenizer.json"));
}

TEST(Defaults, AreTheModelCards) {
  Files files = demo_files();
  files.erase("generation_config.json");
  const Defaults defaults = defaults_of(files).value();
  EXPECT_EQ(defaults.mode(true).sampling.temperature, 0.6f);
  EXPECT_EQ(defaults.mode(true).sampling.top_p, 0.95f);
  EXPECT_EQ(defaults.mode(true).sampling.top_k, 0u);
  EXPECT_EQ(defaults.mode(true).max_tokens, 20480u);
  EXPECT_EQ(defaults.mode(false).sampling.temperature, 0.2f);
  EXPECT_EQ(defaults.mode(false).sampling.top_k, 1u);
  EXPECT_EQ(defaults.mode(false).max_tokens, 1024u);
  EXPECT_EQ(defaults.reasoning_budget, 16384u);
  EXPECT_EQ(defaults.reasoning_grace, 1024u);
}

TEST(Defaults, SamplingForThinkingComesFromTheModelsOwnFile) {
  const Defaults defaults =
      defaults_of(with_file("generation_config.json",
                            R"({"temperature": 1.5, "top_p": null, "top_k": 7, "min_p": 0.25,
                                "max_new_tokens": 5})"))
          .value();
  EXPECT_EQ(defaults.thinking.sampling.temperature, 1.5f);
  EXPECT_EQ(defaults.thinking.sampling.top_p, 0.95f);
  EXPECT_EQ(defaults.thinking.sampling.top_k, 7u);
  EXPECT_EQ(defaults.thinking.sampling.min_p, 0.25f);
  EXPECT_EQ(defaults.thinking.max_tokens, 20480u);
  EXPECT_EQ(defaults.direct.sampling.temperature, 0.2f);
  EXPECT_EQ(defaults_of(with_file("generation_config.json", R"({"do_sample": false})"))
                ->thinking.sampling.temperature,
            0.0f);
}

TEST(Defaults, ARepetitionPenaltyOfTheModelsOwnFileHoldsInBothModesForTheWholeText) {
  const Defaults defaults =
      defaults_of(with_file("generation_config.json", R"({"repetition_penalty": 1.25})")).value();
  for (const bool thinking : {true, false}) {
    const Sampling& sampling = defaults.mode(thinking).sampling;
    EXPECT_EQ(resolve({}, sampling, 10)->repetition_penalty, 1.25f);
    EXPECT_EQ(resolve({}, sampling, 10)->repetition_window, 0u);
    EXPECT_EQ(resolve({.repetition_window = 9}, sampling, 10)->repetition_window, 9u);
    EXPECT_EQ(resolve({.repetition_penalty = 1.5f}, sampling, 10)->repetition_penalty, 1.5f);
    EXPECT_EQ(resolve({.repetition_penalty = 1.5f}, sampling, 10)->repetition_window, 64u);
  }
}

TEST(Defaults, ABrokenFileIsNamed) {
  for (const char* contents : {R"({"temperature": -1})", R"({"top_p": 1.5})", R"({"top_k": "x"})",
                               R"({"repetition_penalty": 0})", R"({"do_sample": 1})", "[]", "{"}) {
    const auto result = defaults_of(with_file("generation_config.json", contents));
    ASSERT_FALSE(result) << contents;
    EXPECT_EQ(result.error().code, ErrorCode::corrupt) << contents;
    EXPECT_THAT(result.error().where, HasSubstr("generation_config.json")) << contents;
  }
}

}  // namespace
}  // namespace tern::engine
