#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <ctime>
#include <filesystem>

#include "base/mapped_file.h"
#include "base/test_paths.h"
#include "text/normalizer.h"

namespace tern::text {
namespace {

const Tokenizer& real_tokenizer() {
  static const Tokenizer tokenizer = [] {
    const auto path = std::filesystem::path(source_dir()) / "../shared/spec/data/tokenizer.json";
    const auto file = MappedFile::open(path);
    EXPECT_TRUE(file) << "the tokenizer.json of the model is needed at " << path;
    return Tokenizer::from_json(as_text(file.value().bytes()), path.string()).value();
  }();
  return tokenizer;
}

/// Processor seconds of encoding, the best of three.
double seconds(const std::string& text) {
  double best = 1e9;
  for (int run = 0; run < 3; ++run) {
    const auto start = std::clock();
    EXPECT_FALSE(real_tokenizer().encode(text).empty());
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

std::string repeated(std::string_view unit, std::size_t size) {
  std::string text;
  while (text.size() < size) text += unit;
  return text;
}

TEST(Tokenizer, TakesLinearTimeOnAMegabyteOfAnything) {
  for (const std::string_view unit :
       {"a", "A", " ", "0", "\n", "\xCC\x81", "\xF0\x9F\x98\x80", "aB", "<", "<SPECIAL_", "\xFF",
        "\xE6\xBC\xA2", " \n", "the quick brown fox "}) {
    const double small = seconds(repeated(unit, 1u << 17));
    const double large = seconds(repeated(unit, 1u << 20));
    // The clock and the caches blur a slope; 1.5 tells n log n from n squared.
    if (large > 0.02) {
      EXPECT_LT(std::log2(large / small) / 3, 1.5) << unit << ": " << small << ", " << large;
    }
  }
}

TEST(Tokenizer, InvalidBytesKeepTheirPlaceAndSplitLikeReplacementCharacters) {
  const std::string text =
      "a\xFF"
      "b\xE2\x82 c";
  const auto ids = real_tokenizer().encode(text);
  EXPECT_EQ(real_tokenizer().decode(ids), text);
  EXPECT_EQ(ids.front(), 1000u + 'a');
}

TEST(Tokenizer, DecodingCanSkipSpecialTokensAndKeepsOthers) {
  const auto ids = real_tokenizer().encode("<|im_start|>a<think></think><|im_end|>");
  EXPECT_EQ(real_tokenizer().decode(ids, true), "a<think></think>");
  EXPECT_EQ(real_tokenizer().decode(ids), "<|im_start|>a<think></think><|im_end|>");
}

TEST(Tokenizer, IdsOutsideTheVocabularyGiveNothing) {
  EXPECT_EQ(real_tokenizer().decode(std::vector<TokenId>{131072, 4'294'967'295}), "");
  EXPECT_EQ(real_tokenizer().special_id("<video>"), std::nullopt);
}

TEST(Normalizer, ComposesOrdersAndLeavesInvalidBytesAlone) {
  EXPECT_EQ(to_nfc("e\xCC\x81"), "\xC3\xA9");
  EXPECT_EQ(to_nfc("q\xCC\x87\xCC\xA3"), "q\xCC\xA3\xCC\x87");
  EXPECT_EQ(to_nfc("\xFF"
                   "e\xCC\x81\xE2\x82"),
            "\xFF\xC3\xA9\xE2\x82");
  EXPECT_EQ(to_nfc("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"), "\xED\x95\x9C") << "Hangul";
}

TEST(Normalizer, TakesLinearTimeOnMarksOutOfOrder) {
  const auto start = std::clock();
  to_nfc("a" + repeated("\xCC\x87\xCC\xA3", 1u << 20));
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 5.0);
}

}  // namespace
}  // namespace tern::text
