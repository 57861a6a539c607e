// Ids against Hugging Face's tokenizers; tests/golden/tokenizer/make.py wrote what it says.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/test_paths.h"
#include "text/pattern_syntax.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace tern::text {
namespace {

namespace fs = std::filesystem;

const fs::path kTests = fs::path(source_dir()) / "tests";
const fs::path kGolden = kTests / "golden" / "tokenizer";
/// The model's own file, beside the repository.
const fs::path kRealFile = fs::path(source_dir()) / "../shared/spec/data/tokenizer.json";

const Tokenizer* real_tokenizer() {
  static const std::optional<Tokenizer> tokenizer = [] {
    const auto file = MappedFile::open(kRealFile);
    EXPECT_TRUE(file) << "the tokenizer.json of the model is needed at " << kRealFile;
    if (!file) return std::optional<Tokenizer>();
    auto loaded = Tokenizer::from_json(as_text(file->bytes()), kRealFile.string());
    EXPECT_TRUE(loaded) << loaded.error().message();
    return loaded ? std::optional(*std::move(loaded)) : std::nullopt;
  }();
  return tokenizer ? &*tokenizer : nullptr;
}

json::value golden(const fs::path& path) {
  return parse_json(read_text_file(path, 1u << 22).value(), path.string()).value();
}

std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}

std::vector<TokenId> ids_of(const json::value& value) {
  std::vector<TokenId> ids;
  for (const auto& id : value.as_array()) ids.push_back(id.to_number<TokenId>());
  return ids;
}

/// FNV-1a, 64 bits.
class Hash {
 public:
  void add(std::uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001B3u; }
  void add(std::string_view bytes) {
    for (const char byte : bytes) add(static_cast<std::uint8_t>(byte));
  }
  void add_u32(std::uint32_t number) {
    for (int shift = 0; shift < 32; shift += 8) add(static_cast<std::uint8_t>(number >> shift));
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xCBF29CE484222325u;
};

std::uint64_t hash(const std::vector<TokenId>& ids) {
  Hash hash;
  for (const TokenId id : ids) hash.add_u32(id);
  return hash.value();
}

/// splitmix64, as in text_generator.py.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t below(std::uint64_t bound) {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (z ^ z >> 31) % bound;
  }
  const json::value& pick(const json::value& list) {
    return list.as_array()[below(list.as_array().size())];
  }

 private:
  std::uint64_t state_;
};

/// The same texts as text_generator.py.
class Generator {
 public:
  Generator() : alphabet_(golden(kTests / "corpus" / "tokenizer" / "alphabet.json")) {}

  std::string chunk(std::uint64_t seed, std::size_t size) const {
    Random random(seed);
    std::string text;
    while (text.size() < size) append_piece(random, text);
    return text;
  }

 private:
  void append_piece(Random& random, std::string& text) const {
    const auto kind = random.below(10);
    if (kind <= 2) {
      const auto& snippet = random.pick(alphabet_.at("snippets")).as_string();
      const auto count = random.below(5) != 0 ? 1 : 2 + random.below(8);
      for (std::uint64_t i = 0; i < count; ++i) text += snippet;
    } else if (kind <= 4) {
      const auto& range = random.pick(alphabet_.at("ranges")).as_array();
      const auto first = range[0].to_number<std::uint64_t>();
      const auto last = range[1].to_number<std::uint64_t>();
      for (auto count = 1 + random.below(12); count > 0; --count)
        append_utf8(static_cast<char32_t>(first + random.below(last - first + 1)), text);
    } else if (kind == 5) {
      constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ";
      for (auto count = 1 + random.below(10); count > 0; --count)
        text += kLetters[random.below(kLetters.size())];
    } else if (kind == 6) {
      for (auto count = 1 + random.below(20); count > 0; --count)
        text += random.pick(alphabet_.at("spaces")).as_string();
    } else if (kind == 7) {
      const auto code = static_cast<char32_t>(random.below(0x110000));
      append_utf8(code >= 0xD800 && code < 0xE000 ? U'?' : code, text);
    } else {
      for (auto count = 1 + random.below(20); count > 0; --count)
        (text += ' ') += random.pick(alphabet_.at("words")).as_string();
    }
  }

  json::value alphabet_;
};

TEST(TokenizerGolden, FiveMegabytesOfGeneratedTextHaveTheReferenceIds) {
  const Tokenizer* tokenizer = real_tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  std::ifstream lines(kGolden / "chunks.txt");
  const Generator generator;
  std::size_t bytes = 0;
  std::uint64_t seed = 0;
  std::uint64_t text_hash = 0;
  std::uint64_t ids_hash = 0;
  std::uint64_t plain_hash = 0;
  while (lines >> std::dec >> seed >> std::hex >> text_hash >> ids_hash >> plain_hash) {
    const std::string text = generator.chunk(seed, 8192);
    Hash found;
    found.add(text);
    ASSERT_EQ(found.value(), text_hash) << "the generators differ at seed " << seed;
    const auto ids = tokenizer->encode(text);
    EXPECT_EQ(hash(ids), ids_hash) << "chunk with seed " << seed;
    EXPECT_EQ(hash(tokenizer->encode(text, Specials::ignore)), plain_hash)
        << "chunk with seed " << seed << ", added tokens ignored";
    EXPECT_EQ(tokenizer->decode(ids), text);
    bytes += text.size();
  }
  EXPECT_GT(bytes, 5'000'000u);
}

TEST(TokenizerGolden, ReadableCasesHaveTheReferenceIds) {
  const Tokenizer* tokenizer = real_tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  const json::value cases = golden(kGolden / "cases.json");
  EXPECT_GT(cases.as_array().size(), 60u);
  for (const json::value& entry : cases.as_array())
    EXPECT_EQ(tokenizer->encode(text_of(entry.at(0))), ids_of(entry.at(1)))
        << json::serialize(entry.at(0));
}

TEST(TokenizerGolden, IdsThatTheSpecificationNamesHold) {
  const Tokenizer* tokenizer = real_tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(tokenizer->encode("Hello, my name is"), (Ids{22177, 1044, 2036, 2564, 1395}));
  EXPECT_EQ(tokenizer->encode("assistant"), (Ids{1503, 19464}));
  EXPECT_EQ(tokenizer->encode(">\n"), (Ids{1561}));
  EXPECT_EQ(tokenizer->encode("<think>\n"), (Ids{12, 1010}));
  EXPECT_EQ(tokenizer->special_id("<|im_end|>"), 11u);
  EXPECT_FALSE(tokenizer->is_special(12));
  EXPECT_TRUE(tokenizer->is_special(18));
  EXPECT_EQ(tokenizer->vocabulary_size(), 131072u);
  for (unsigned byte = 0; byte < 256; ++byte)
    EXPECT_EQ(tokenizer->token_bytes(1000 + byte), std::string(1, static_cast<char>(byte)));
}

TEST(TokenizerGolden, TheSameVocabularyFromGgufMetadataGivesTheSameIds) {
  const Tokenizer* tokenizer = real_tokenizer();
  ASSERT_NE(tokenizer, nullptr);
  const auto file = MappedFile::open(kRealFile);
  const json::value root = parse_json(as_text(file.value().bytes()), "tokenizer.json").value();
  const json::value& model = root.at("model");
  std::vector<std::string_view> tokens(model.at("vocab").as_object().size());
  for (const auto& [spelled, id] : model.at("vocab").as_object())
    tokens.at(id.to_number<std::size_t>()) = spelled;
  std::vector<std::uint64_t> types(tokens.size(), 1);
  for (const auto& added : root.at("added_tokens").as_array())
    types.at(added.at("id").to_number<std::size_t>()) = added.at("special").as_bool() ? 3 : 4;
  std::vector<std::string> joined;
  for (const auto& pair : model.at("merges").as_array())
    joined.push_back(text_of(pair.at(0)) + " " + text_of(pair.at(1)));
  const std::vector<std::string_view> merges(joined.begin(), joined.end());

  const auto gguf = Tokenizer::from_gguf(tokens, types, merges, "pixtral", "metadata");
  ASSERT_TRUE(gguf) << gguf.error().message();
  const Generator generator;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::string text = generator.chunk(seed, 8192);
    EXPECT_EQ(gguf->encode(text), tokenizer->encode(text)) << seed;
  }
  for (TokenId id = 0; id < tokens.size(); ++id) {
    ASSERT_EQ(gguf->token_bytes(id), tokenizer->token_bytes(id)) << id;
    ASSERT_EQ(gguf->is_special(id), tokenizer->is_special(id)) << id;
  }
}

/// small.json with some fields replaced.
std::string changed(const json::value& small, const json::value& change) {
  json::value out = small;
  for (const auto& [key, value] : change.as_object()) {
    if (key != "model") {
      out.as_object()[key] = value;
      continue;
    }
    for (const auto& [name, field] : value.as_object()) out.at("model").as_object()[name] = field;
    if (out.at("model").at("merges").is_string()) {  // "as strings"
      json::array merges;
      for (const auto& pair : small.at("model").at("merges").as_array())
        merges.push_back(json::string(text_of(pair.at(0)) + " " + text_of(pair.at(1))));
      out.at("model").as_object()["merges"] = std::move(merges);
    }
  }
  return json::serialize(out);
}

TEST(TokenizerGolden, EveryVariantOfASmallTokenizerHasTheReferenceIds) {
  const json::value small = golden(kGolden / "small.json");
  const json::value variants = golden(kGolden / "variants.json");
  EXPECT_GT(variants.as_array().size(), 20u);
  for (const json::value& variant : variants.as_array()) {
    const std::string name = text_of(variant.at("name"));
    const auto tokenizer = Tokenizer::from_json(changed(small, variant.at("change")), name);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message();
    for (const json::value& entry : variant.at("cases").as_array())
      EXPECT_EQ(tokenizer->encode(text_of(entry.at(0))), ids_of(entry.at(1)))
          << name << ": " << json::serialize(entry.at(0));
  }
}

TEST(PatternGolden, ExpressionsSplitAsOnigurumaDoes) {
  const json::value patterns = golden(kGolden / "patterns.json");
  EXPECT_GT(patterns.as_array().size(), 50u);
  const std::map<std::string, SplitBehavior> behaviors = {
      {"isolated", SplitBehavior::isolated},
      {"removed", SplitBehavior::removed},
      {"merged_with_previous", SplitBehavior::merged_with_previous},
      {"merged_with_next", SplitBehavior::merged_with_next},
      {"contiguous", SplitBehavior::contiguous}};
  for (const json::value& entry : patterns.as_array()) {
    PreTokenizer splitter;
    const std::string expression = text_of(entry.at("expression"));
    const auto added = splitter.add_split(expression, behaviors.at(text_of(entry.at("behavior"))),
                                          entry.at("invert").as_bool(), "patterns.json");
    ASSERT_TRUE(added) << added.error().message();
    for (const json::value& test : entry.at("cases").as_array()) {
      const std::string text = text_of(test.at(0));
      Pieces found;
      splitter.split(text, found);
      std::vector<std::string> expected;
      for (const auto& piece : test.at(1).as_array()) expected.push_back(text_of(piece));
      EXPECT_EQ(std::vector<std::string>(found.pieces.begin(), found.pieces.end()), expected)
          << expression << " on " << json::serialize(test.at(0));
    }
  }
}

TEST(UnicodeGolden, EveryCodePointHasTheReferenceProperties) {
  std::ifstream lines(kGolden / "unicode.txt");
  std::string expression;
  std::size_t count = 0;
  std::uint64_t expected = 0;
  std::size_t properties = 0;
  for (; lines >> expression >> std::dec >> count >> std::hex >> expected; ++properties) {
    const auto tree = parse_pattern(expression, "unicode.txt");
    ASSERT_TRUE(tree) << tree.error().message();
    ASSERT_EQ(tree->sets.size(), 1u);
    Hash hash;
    std::size_t found = 0;
    for (const auto& [first, last] : tree->sets[0].ranges())
      for (char32_t code = first; code <= last; ++code) {
        if (code >= 0xD800 && code < 0xE000) continue;
        hash.add_u32(code);
        ++found;
      }
    EXPECT_EQ(found, count) << expression;
    EXPECT_EQ(hash.value(), expected) << expression;
  }
  EXPECT_GT(properties, 35u);
}

}  // namespace
}  // namespace tern::text
