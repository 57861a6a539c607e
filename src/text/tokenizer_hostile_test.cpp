// Tokenizer files that nobody vouches for: errors, never crashes, whatever is wrong.
#include <gtest/gtest.h>

#include <functional>

#include "base/json.h"
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

namespace tern::text {
namespace {

/// Three bytes, two merges, one control token and one added token.
constexpr std::string_view kSmall = R"({
 "version": "1.0", "truncation": null, "padding": null,
 "added_tokens": [
  {"id": 5, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
   "normalized": false, "special": true},
  {"id": 6, "content": "<think>", "special": false}],
 "normalizer": null,
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
   {"type": "Split", "pattern": {"Regex": "\\s+|\\S+"}, "behavior": "Isolated", "invert": false},
   {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
 "post_processor": {"type": "ByteLevel"},
 "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
  "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4},
  "merges": [["a", "b"], ["ab", "c"]]}
})";

Result<Tokenizer> load(std::string_view text) {
  return Tokenizer::from_json(text, "t.json");
}

/// The error after one change of the small file.
Error error_of(const std::function<void(json::object&)>& change) {
  json::value file = json::parse(json::string_view(kSmall.data(), kSmall.size()));
  change(file.as_object());
  const auto loaded = load(json::serialize(file));
  return loaded ? Error{ErrorCode::internal, "it was accepted"} : loaded.error();
}

Error error_of_model(std::string_view field, std::string_view value) {
  return error_of([&](json::object& file) {
    file["model"].as_object()[field] = json::parse(json::string_view(value.data(), value.size()));
  });
}

Error error_of_field(std::string_view field, std::string_view value) {
  return error_of([&](json::object& file) {
    file[field] = json::parse(json::string_view(value.data(), value.size()));
  });
}

TEST(TokenizerFile, IsRefusedWhenCutAnywhere) {
  ASSERT_TRUE(load(kSmall)) << load(kSmall).error().message();
  for (std::size_t size = 0; size < kSmall.size(); ++size) {
    const auto loaded = load(kSmall.substr(0, size));
    ASSERT_FALSE(loaded) << size;
    EXPECT_EQ(loaded.error().code, ErrorCode::corrupt) << size;
  }
}

TEST(TokenizerFile, SurvivesEveryFlippedByte) {
  for (std::size_t i = 0; i < kSmall.size(); ++i)
    for (const char replacement : {'\0', '"', '{', ']', '9', '\xFF'}) {
      std::string text(kSmall);
      text[i] = replacement;
      if (const auto loaded = load(text)) loaded->encode("abc <end> cab");
    }
}

/// Puts each of several wrong values in the place of each value in the tree.
void replace_each(json::value& root, json::value& place) {
  static const std::vector<json::value> wrong = {nullptr,
                                                 true,
                                                 -1,
                                                 1e300,
                                                 18446744073709551615u,
                                                 "x",
                                                 "",
                                                 {1, 2},
                                                 json::array(),
                                                 json::object(),
                                                 {{"type", "Sequence"}}};
  const json::value good = place;
  for (const json::value& value : wrong) {
    place = value;
    if (const auto loaded = load(json::serialize(root))) loaded->encode("abc <end> cab");
  }
  place = good;
  if (place.is_object())
    for (auto& member : place.as_object()) replace_each(root, member.value());
  if (place.is_array())
    for (auto& element : place.as_array()) replace_each(root, element);
}

TEST(TokenizerFile, SurvivesEveryReplacedField) {
  json::value file = json::parse(json::string_view(kSmall.data(), kSmall.size()));
  replace_each(file, file);
}

TEST(TokenizerFile, IdsThatCannotBeAreCorrupt) {
  for (const std::string_view vocab :
       {R"({"a": -1})", R"({"a": 1.5})", R"({"a": 16777217})", R"({"a": 1e30})",
        R"({"a": 18446744073709551615})", R"({"a": "0"})", R"({"a": null})", R"({"a": [0]})",
        R"({"a": 0, "b": 0, "c": 1, "ab": 2, "abc": 3})",  // twice
        R"({"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 9})",  // a hole
        R"([])", R"("abc")", "7"})
    EXPECT_EQ(error_of_model("vocab", vocab).code, ErrorCode::corrupt) << vocab;
}

TEST(TokenizerFile, MergesThatCannotBeAreCorruptAndNamed) {
  const Error unknown = error_of_model("merges", R"([["a", "b"], ["a", "z"]])");
  EXPECT_EQ(unknown.code, ErrorCode::corrupt);
  EXPECT_NE(unknown.what.find("merge 1"), std::string::npos) << unknown.what;
  for (const std::string_view merges :
       {R"([["a"]])", R"([["a", "b", "c"]])", R"(["ab"])", R"(["a b c"])", R"([1])", R"([null])",
        R"([[["a"]]])", R"([{"a": "b"}])", R"({})", R"(["b c"])", "null"})
    EXPECT_EQ(error_of_model("merges", merges).code, ErrorCode::corrupt) << merges;
}

TEST(TokenizerFile, WhatThisEngineDoesNotKnowIsUnsupportedAndNamed) {
  const auto expect = [](const Error& error, std::string_view name) {
    EXPECT_EQ(error.code, ErrorCode::unsupported) << name;
    EXPECT_NE(error.what.find(name), std::string::npos) << error.what;
  };
  expect(error_of_model("type", R"("WordPiece")"), "WordPiece");
  expect(error_of_model("dropout", "0.1"), "dropout");
  expect(error_of_model("byte_fallback", "true"), "byte_fallback");
  expect(error_of_model("end_of_word_suffix", R"("</w>")"), "end_of_word_suffix");
  expect(error_of_field("normalizer", R"({"type": "Lowercase"})"), "Lowercase");
  expect(error_of_field("pre_tokenizer", R"({"type": "Whitespace"})"), "Whitespace");
  expect(error_of_field("pre_tokenizer", "null"), "ByteLevel");
  expect(error_of_field("post_processor", R"({"type": "BertProcessing"})"), "BertProcessing");
  expect(error_of_field("decoder", R"({"type": "WordPiece"})"), "WordPiece");
  expect(error_of_field("pre_tokenizer", R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "(a)\\1"}, "behavior": "Isolated"}]})"),
         "\\1");
}

TEST(TokenizerFile, AddedTokensMustAgreeWithTheVocabulary) {
  EXPECT_EQ(error_of_field("added_tokens", R"([{"id": 5, "content": "a"}])").code,
            ErrorCode::corrupt);
  EXPECT_EQ(error_of_field("added_tokens", R"([{"id": 0, "content": "<x>"}])").code,
            ErrorCode::corrupt);
  EXPECT_EQ(error_of_field("added_tokens", R"([{"id": 99, "content": "<x>"}])").code,
            ErrorCode::corrupt);
  EXPECT_EQ(error_of_field("added_tokens", R"([{"id": 5, "content": ""}])").code,
            ErrorCode::corrupt);
  EXPECT_EQ(error_of_field("added_tokens", R"([{"content": "<x>"}])").code, ErrorCode::not_found);
  EXPECT_EQ(error_of([](json::object& file) {
              file["added_tokens"].as_array()[0].as_object()["content"] = std::string(2000, 'x');
            }).code,
            ErrorCode::too_large);
}

TEST(TokenizerFile, DepthAndDuplicateKeysAreRefused) {
  EXPECT_EQ(load(std::string(100'000, '[')).error().code, ErrorCode::too_large);
  EXPECT_EQ(load(R"({"model": 1, "model": 2})").error().code, ErrorCode::corrupt);
  std::string nested;
  for (int i = 0; i < 12; ++i) nested += R"({"type": "Sequence", "pretokenizers": [)";
  nested += R"({"type": "ByteLevel"})";
  for (int i = 0; i < 12; ++i) nested += "]}";
  EXPECT_EQ(error_of_field("pre_tokenizer", nested).code, ErrorCode::too_large);
}

TEST(TokenizerFile, SmallTextThatAsksForMuchMemoryIsRefused) {
  std::string text = R"({"x": [)";
  for (int i = 0; i < 5'000'000; ++i) text += "0,";
  EXPECT_EQ(load(text + "0]}").error().code, ErrorCode::too_large);
}

TEST(TokenizerFile, ATokenStringThatComesTwiceKeepsItsFirstId) {
  const auto tokenizer = load(R"({"pre_tokenizer": {"type": "ByteLevel"}, "model": {
      "vocab": {"a": 0, "b": 1, "a": 2, "ab": 3, "ab": 4}, "merges": ["a b"]}})");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->encode("ab a"), (std::vector<TokenId>{3, 0}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2, 4}), "aab");
}

TEST(TokenizerFile, BytesWithoutATokenAreDroppedOrBecomeUnk) {
  const auto without = load(kSmall);
  ASSERT_TRUE(without);
  EXPECT_EQ(without->encode("abxcab"), (std::vector<TokenId>{4, 3})) << "as tokenizers does";
  for (const bool fuse : {false, true}) {
    json::value file = json::parse(json::string_view(kSmall.data(), kSmall.size()));
    file.as_object()["model"].as_object()["unk_token"] = "c";
    file.as_object()["model"].as_object()["fuse_unk"] = fuse;
    const auto with = load(json::serialize(file));
    ASSERT_TRUE(with);
    EXPECT_EQ(with->encode("axxb"),
              fuse ? (std::vector<TokenId>{0, 2, 1}) : (std::vector<TokenId>{0, 2, 2, 1}));
  }
}

TEST(TokenizerFile, NeitherMergesNorWholeWordsMakeAControlTokenOfUserText) {
  for (const std::string_view ignore_merges : {"true", "false"}) {
    const auto tokenizer = load(R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "ByteLevel", "use_regex": false}]},
        "added_tokens": [{"id": 4, "content": "<x>", "special": true}],
        "model": {"ignore_merges": )" +
                                std::string(ignore_merges) + R"(,
        "vocab": {"<": 0, "x": 1, ">": 2, "<x": 3, "<x>": 4}, "merges": ["< x", "<x >"]}})");
    ASSERT_TRUE(tokenizer) << tokenizer.error().message();
    EXPECT_EQ(tokenizer->encode("<x>", Specials::parse), (std::vector<TokenId>{4}));
    EXPECT_EQ(tokenizer->encode("<x>", Specials::ignore), (std::vector<TokenId>{3, 2}));
  }
}

// GGUF metadata

using Strings = std::vector<std::string_view>;

Result<Tokenizer> gguf(const Strings& tokens, const std::vector<std::uint64_t>& types,
                       const Strings& merges, std::string_view pre = "pixtral") {
  return Tokenizer::from_gguf(tokens, types, merges, pre, "m.gguf");
}

TEST(TokenizerFromGguf, KnowsControlAndUserDefinedTokens) {
  const auto tokenizer =
      gguf({"<end>", "<think>", "a", "b", "ab", "\xC4\xA0"}, {3, 4, 1, 1, 1, 1}, {"a b"});
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->encode("ab<end> <think>"), (std::vector<TokenId>{4, 0, 5, 1}));
  EXPECT_TRUE(tokenizer->is_special(0));
  EXPECT_FALSE(tokenizer->is_special(1));
  EXPECT_EQ(tokenizer->special_id("<think>"), 1u);
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{0, 4, 5}, true), "ab ");
}

TEST(TokenizerFromGguf, EveryKnownPreTokenizerLoadsAndOthersAreListed) {
  for (const std::string_view pre :
       {"pixtral", "tekken", "llama-bpe", "qwen2", "gpt-2", "default"}) {
    const auto tokenizer = gguf({"a"}, {}, {}, pre);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message();
    EXPECT_EQ(tokenizer->encode("aa").size(), 2u);
  }
  const Error error = gguf({"a"}, {}, {}, "deepseek-llm").error();
  EXPECT_EQ(error.code, ErrorCode::unsupported);
  EXPECT_NE(error.what.find("pixtral, tekken"), std::string::npos) << error.what;
}

TEST(TokenizerFromGguf, WhatDoesNotFitTogetherIsCorrupt) {
  EXPECT_EQ(gguf({"a", "b"}, {1}, {}).error().code, ErrorCode::corrupt);
  EXPECT_EQ(gguf({"a"}, {0}, {}).error().code, ErrorCode::corrupt);
  EXPECT_EQ(gguf({"a"}, {99}, {}).error().code, ErrorCode::corrupt);
  for (const std::string_view merge : {"ab", "a b c", "", "a z", "a b"})
    EXPECT_EQ(gguf({"a", "b"}, {}, {merge}).error().code, ErrorCode::corrupt) << merge;
}

TEST(TokenizerFromGguf, DuplicateTokensLoadWithTheFirstIdWinning) {
  const auto tokenizer = gguf({"a", "a", "<x>", "<x>"}, {1, 1, 3, 3}, {});
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  EXPECT_EQ(tokenizer->encode("a<x>a"), (std::vector<TokenId>{0, 2, 0}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{1, 3}), "a<x>");
}

TEST(TokenizerFromGguf, AnEmptyVocabularyEncodesNothing) {
  const auto tokenizer = gguf({}, {}, {});
  ASSERT_TRUE(tokenizer);
  EXPECT_TRUE(tokenizer->encode("text").empty());
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{0, 1, 4'000'000'000}), "");
}

}  // namespace
}  // namespace tern::text
