// The demo's tokenizer and template, written as GGUF files have them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/json.h"
#include "engine/chat.h"
#include "engine/testing.h"
#include "engine/vocabulary.h"

namespace tern::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Writes metadata as GGUF version 3 does: key, type, value; little-endian.
class GgufWriter {
 public:
  void add(std::string_view key, std::string_view value) { text(begin(key, 8), value); }
  void add(std::string_view key, std::uint32_t value) { number(begin(key, 4), value); }
  void add(std::string_view key, const std::vector<std::string>& values) {
    std::string& out = array(key, 8, values.size());
    for (const std::string& value : values) text(out, value);
  }
  void add(std::string_view key, const std::vector<std::int32_t>& values) {
    std::string& out = array(key, 5, values.size());
    for (const std::int32_t value : values) number(out, value);
  }

  /// The file: the metadata and one tensor of a single number.
  std::string file() const {
    std::string out = "GGUF";
    number(out, std::uint32_t{3});
    number(out, std::uint64_t{1});
    number(out, entries_);
    out += metadata_;
    text(out, "token_embd.weight");
    number(out, std::uint32_t{1});  // axes
    number(out, std::uint64_t{1});
    number(out, std::uint32_t{0});  // f32
    number(out, std::uint64_t{0});
    out.resize((out.size() + 31) / 32 * 32);
    return out + std::string(4, '\0');
  }

 private:
  std::string& begin(std::string_view key, std::uint32_t type) {
    ++entries_;
    text(metadata_, key);
    number(metadata_, type);
    return metadata_;
  }
  std::string& array(std::string_view key, std::uint32_t type, std::uint64_t count) {
    number(begin(key, 9), type);
    number(metadata_, count);
    return metadata_;
  }
  template <class T>
  static void number(std::string& out, T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    out.append(bytes, sizeof value);
  }
  static void text(std::string& out, std::string_view value) {
    number(out, std::uint64_t{value.size()});
    out += value;
  }

  std::string metadata_;
  std::uint64_t entries_ = 0;
};

GgufWriter demo_gguf() {
  const auto files = testing::demo_files();
  const json::object source = parse_json(files.at("tokenizer.json"), "tokenizer.json")->as_object();
  const json::object& model = source.at("model").as_object();
  std::vector<std::string> tokens(model.at("vocab").as_object().size()), merges;
  std::vector<std::int32_t> types(tokens.size(), 1);
  for (const auto& [token, id] : model.at("vocab").as_object())
    tokens.at(id.to_number<std::size_t>()) = token;
  for (const json::value& added : source.at("added_tokens").as_array())
    types.at(added.at("id").to_number<std::size_t>()) = added.at("special").as_bool() ? 3 : 4;
  for (const json::value& merge : model.at("merges").as_array()) {
    const json::array* pair = merge.if_array();
    merges.push_back(pair ? json::value_to<std::string>(pair->at(0)) + " " +
                                json::value_to<std::string>(pair->at(1))
                          : json::value_to<std::string>(merge));
  }
  GgufWriter writer;
  writer.add("general.architecture", "nemotron_h_moe");
  writer.add("tokenizer.ggml.model", "gpt2");
  writer.add("tokenizer.ggml.pre", "pixtral");
  writer.add("tokenizer.ggml.tokens", tokens);
  writer.add("tokenizer.ggml.token_type", types);
  writer.add("tokenizer.ggml.merges", merges);
  return writer;
}

/// A file that is there as long as the object.
class GgufFile {
 public:
  explicit GgufFile(const GgufWriter& writer)
      : path_(std::filesystem::path(::testing::TempDir()) /
              (std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) +
               ".gguf")) {
    std::ofstream(path_, std::ios::binary) << writer.file();
  }
  ~GgufFile() { std::filesystem::remove(path_); }

  formats::Checkpoint open() const {
    auto checkpoint = open_checkpoint(path_.string());
    EXPECT_TRUE(checkpoint) << checkpoint.error().message();
    return *std::move(checkpoint);
  }

 private:
  std::filesystem::path path_;
};

model::Config config_of(std::size_t vocabulary) {
  model::Config config;
  config.vocab_size = vocabulary;
  return config;
}

TEST(GgufVocabulary, GivesTheTokensOfTheJsonTokenizer) {
  const GgufFile file(demo_gguf());
  const auto vocabulary = Vocabulary::load(file.open(), config_of(2048));
  ASSERT_TRUE(vocabulary) << vocabulary.error().message();
  const std::string json = testing::demo_files().at("tokenizer.json");
  const auto tokenizer = text::Tokenizer::from_json(json, "tokenizer.json").value();
  for (const char* text : {"Hello, my name is", "<|im_start|>user\n1 + 23 = ?<|im_end|>\n",
                           "helloWorld it's   spaced\r\n\r\n/tmp", "<think></think>\xc3\xa9\xff"}) {
    EXPECT_EQ(vocabulary->tokenizer.encode(text), tokenizer.encode(text)) << text;
  }
  EXPECT_THAT(vocabulary->end_tokens, ElementsAre(2, 11));
  EXPECT_THAT(vocabulary->media, ElementsAre(18, 19, 20, 27, 28, 29));
  EXPECT_EQ(vocabulary->think, 12u);
  EXPECT_EQ(vocabulary->end_think, 13u);
}

TEST(GgufVocabulary, TakesEndTokensFromTheMetadata) {
  GgufWriter writer = demo_gguf();
  writer.add("tokenizer.ggml.eos_token_id", 40u);
  writer.add("tokenizer.ggml.eot_token_id", 41u);
  const GgufFile file(writer);
  EXPECT_THAT(Vocabulary::load(file.open(), config_of(2048))->end_tokens,
              ElementsAre(2, 11, 40, 41));
}

TEST(GgufVocabulary, RefusesATokenizerThatDoesNotFit) {
  const GgufFile file(demo_gguf());
  const auto larger = Vocabulary::load(file.open(), config_of(2047));
  ASSERT_FALSE(larger);
  EXPECT_EQ(larger.error().code, ErrorCode::mismatch);

  GgufWriter other;
  other.add("general.architecture", "nemotron_h_moe");
  other.add("tokenizer.ggml.model", "llama");
  const auto sentencepiece = Vocabulary::load(GgufFile(other).open(), config_of(2048));
  ASSERT_FALSE(sentencepiece);
  EXPECT_EQ(sentencepiece.error().code, ErrorCode::unsupported);
  EXPECT_THAT(sentencepiece.error().what, HasSubstr("\"llama\""));
}

TEST(GgufChat, RendersTheTemplateOfTheMetadata) {
  GgufWriter writer = demo_gguf();
  writer.add("tokenizer.chat_template", "{{ bos_token }}{{ eos_token }}{{ messages[0].content }}");
  writer.add("tokenizer.ggml.bos_token_id", 1u);
  writer.add("tokenizer.ggml.eos_token_id", 11u);
  const GgufFile file(writer);
  const formats::Checkpoint checkpoint = file.open();
  const Vocabulary vocabulary = Vocabulary::load(checkpoint, config_of(2048)).value();
  const std::vector<Message> messages = {{.role = "user", .content = "Hi"}};
  EXPECT_EQ(Chat::load(checkpoint, vocabulary.tokenizer)->render(messages, {}), "<s><|im_end|>Hi");

  const GgufFile without(demo_gguf());
  const auto error = Chat::load(without.open(), vocabulary.tokenizer)->render(messages, {});
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace tern::engine
