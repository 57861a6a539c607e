#include "hub/family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cctype>
#include <set>

namespace tern::hub {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kCard =
    "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit-TQ-KV";

std::size_t count(auto condition) {
  return static_cast<std::size_t>(std::ranges::count_if(family(), condition));
}

ModelName parsed(std::string_view typed) {
  const auto name = parse_model_name(typed);
  EXPECT_TRUE(name && *name) << typed << (name ? "" : ": " + name.error().message());
  return name && *name ? **name : ModelName{};
}

TEST(Family, Has56NamesThatRunTwoCachesAndTheEncoders) {
  EXPECT_EQ(count([](const Variant& v) { return !v.parent.empty(); }), 56u);
  EXPECT_EQ(count([](const Variant& v) { return v.holds == Holds::weights; }), 28u);
  EXPECT_EQ(count([](const Variant& v) { return v.holds == Holds::card; }), 28u);
  EXPECT_EQ(count([](const Variant& v) { return v.holds == Holds::cache; }), 2u);
  EXPECT_EQ(count([](const Variant& v) { return v.holds == Holds::encoders; }), 1u);
  EXPECT_EQ(family().size(), 59u);
}

TEST(Family, OfThemOneCardAndIts56SiblingsArePublished) {
  EXPECT_EQ(count([](const Variant& v) { return v.published; }), 57u);
  EXPECT_EQ(count([](const Variant& v) { return v.published && v.repository() != kCard; }), 56u);
  for (const Variant& variant : family())
    EXPECT_EQ(variant.published, !variant.name.starts_with("TurboQuant-MLX-MXFP4"));
}

TEST(Family, NamesAreDistinctRepositories) {
  std::set<std::string> names;
  for (const Variant& variant : family()) {
    EXPECT_TRUE(is_repository(variant.repository())) << variant.repository();
    names.insert(variant.repository());
  }
  EXPECT_EQ(names.size(), family().size());
  EXPECT_TRUE(names.contains(std::string(kCard)));
}

TEST(Family, EveryNameThatRunsIsUnderstoodInEveryForm) {
  for (const Variant& variant : family()) {
    if (variant.parent.empty()) continue;
    const std::string full = variant.repository();
    const std::string without_owner = full.substr(full.find('/') + 1);
    std::string shouted = full;
    for (char& c : shouted) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    for (const std::string& typed : {full, without_owner, variant.name, shouted}) {
      const ModelName name = parsed(typed);
      EXPECT_EQ(name.repository, full);
      EXPECT_EQ(name.weights, full.substr(0, full.size() - (variant.cache.empty() ? 0 : 6)));
      EXPECT_EQ(name.cache, variant.cache);
      EXPECT_EQ(name.quantization, variant.gguf() ? variant.format.substr(5) : "");
      EXPECT_FALSE(name.quantization_typed);
    }
  }
}

TEST(Family, ASuffixSendsToTheParentAndNamesTheCache) {
  const ModelName card = parsed(kCard);
  EXPECT_EQ(card.weights, "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant-MLX-4bit");
  EXPECT_EQ(card.cache, "turbo4");
  EXPECT_EQ(parsed("RotorQuant-GGUF-Q8_0-RQ-KV").cache, "iso4");
  // The other label's cache fits as well, though nobody published that card.
  EXPECT_EQ(parsed("TurboQuant-MLX-4bit-rq-kv").cache, "iso4");
  EXPECT_EQ(parsed("TurboQuant-MLX-4bit-rq-kv").weights, card.weights);
}

TEST(Family, ACacheAndTheEncodersExplainThemselves) {
  for (const char* root :
       {"TurboQuant", "majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-TurboQuant"}) {
    const auto name = parse_model_name(root);
    ASSERT_FALSE(name);
    EXPECT_EQ(name.error().code, ErrorCode::usage);
    EXPECT_THAT(name.error().what, HasSubstr("no weights"));
    EXPECT_THAT(name.error().hint, HasSubstr("--kv turbo4"));
  }
  EXPECT_THAT(parse_model_name("rotorquant").error().hint, HasSubstr("-RQ-KV"));
  EXPECT_THAT(parse_model_name("mmproj-f16").error().what, HasSubstr("images and sound"));
}

TEST(Family, AnUnknownVariantSuggestsTheNearest) {
  const auto hint = [](std::string_view typed) {
    const auto name = parse_model_name(typed);
    EXPECT_FALSE(name) << typed;
    return name ? "" : name.error().hint;
  };
  EXPECT_THAT(hint("TurboQuant-MLX-7bit"), HasSubstr("TurboQuant-MLX-"));
  EXPECT_THAT(hint("TurboQuant-GGUF-Q4_K_N"), HasSubstr("TurboQuant-GGUF-Q4_K_M?"));
  EXPECT_THAT(hint("majentik/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-RotorQuant-MLX-MXFP-RQ-KV"),
              HasSubstr("RotorQuant-MLX-MXFP4-RQ-KV?"));
  EXPECT_THAT(hint("TurboQuant-TQ-KV"), HasSubstr("TurboQuant"));
}

TEST(Names, OfOtherPublishersAreRepositoriesToo) {
  EXPECT_EQ(parsed("nvidia/Nemotron-Nano").weights, "nvidia/Nemotron-Nano");
  EXPECT_EQ(parsed("nvidia/Nemotron-Nano").cache, "");
  EXPECT_EQ(parsed("somebody/model-TQ-KV").weights, "somebody/model");
  EXPECT_EQ(parsed("somebody/model-TQ-KV").cache, "turbo4");
  const ModelName one = parsed("somebody/model-GGUF:q4_k_m");
  EXPECT_EQ(one.weights, "somebody/model-GGUF");
  EXPECT_EQ(one.quantization, "q4_k_m");
  EXPECT_TRUE(one.quantization_typed);
}

TEST(Names, PathsAreNoNames) {
  for (const char* path : {"", ".", "model", "./model", "/tmp/model", "a/b/c", "model/", "../x",
                           "a/../b", "dir/model.gguf", "weights/x.safetensors", "a//b",
                           "C:", "model:", "-x/y", "a/b-", "~/model", "a/b\n", "a b/c"}) {
    const auto name = parse_model_name(path);
    ASSERT_TRUE(name) << path;
    EXPECT_FALSE(*name) << path;
  }
}

TEST(Names, ARepositoryIsWhatTheHubAllows) {
  EXPECT_TRUE(is_repository("a/b"));
  EXPECT_TRUE(is_repository("some-one/model_1.0"));
  for (const char* text :
       {"a", "a/", "/b", "a/b/c", "a/..", "a--b/c", "a/.b", "a/b.", "a/b\\c", "a/b c"})
    EXPECT_FALSE(is_repository(text)) << text;
  EXPECT_FALSE(is_repository("a/" + std::string(95, 'b')));
}

RC_GTEST_PROP(Names, AnyTextIsANameOfARepositoryOrAPathOrAnError, (const std::string& text)) {
  for (const std::string& typed :
       {text, "majentik/" + text, std::string(kCard) + text, "TurboQuant-" + text, "a/b:" + text}) {
    const auto name = parse_model_name(typed);
    if (!name) {
      RC_ASSERT(name.error().code == ErrorCode::usage);
    } else if (*name) {
      RC_ASSERT(is_repository((*name)->repository));
      RC_ASSERT(is_repository((*name)->weights));
    }
  }
}

}  // namespace
}  // namespace tern::hub
