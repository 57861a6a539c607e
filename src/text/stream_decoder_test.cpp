#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace tern::text {
namespace {

/// Every byte is a token, so that every split of every character happens. Control token: 256.
const Tokenizer& bytes() {
  static const Tokenizer tokenizer = [] {
    static std::array<std::string, 257> spelled;
    std::vector<std::string_view> tokens;
    std::vector<std::uint64_t> types(257, 1);
    std::size_t next = 0x100;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
      append_utf8(static_cast<char32_t>(printable ? byte : next++), spelled[byte]);
      tokens.push_back(spelled[byte]);
    }
    tokens.push_back(spelled[256] = "<|im_end|>");
    types[256] = 3;
    return Tokenizer::from_gguf(tokens, types, {}, "tekken", "test").value();
  }();
  return tokenizer;
}

bool valid(std::string_view text) {
  return to_valid_utf8(text) == text;
}

std::string streamed(std::string_view text) {
  StreamDecoder decoder(bytes());
  std::string out;
  for (const char byte : text) {
    const std::string piece = decoder.push(static_cast<unsigned char>(byte));
    EXPECT_TRUE(valid(piece));
    out += piece;
  }
  return out + decoder.finish();
}

TEST(StreamDecoder, GivesACharacterWhenItsLastByteHasCome) {
  StreamDecoder decoder(bytes());
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.push(0x98), "");
  EXPECT_EQ(decoder.push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.finish(), "");
}

TEST(StreamDecoder, AnUnfinishedCharacterBecomesOneReplacement) {
  EXPECT_EQ(streamed("a\xF0\x9F\x98"), "a\xEF\xBF\xBD");
  EXPECT_EQ(streamed("\xE2\x82"
                     "b"),
            "\xEF\xBF\xBD"
            "b");
}

TEST(StreamDecoder, ReplacesEachMaximalSubpartOnceAsPythonDoes) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(streamed("\xED\xA0\x80"), r + r + r) << "a surrogate";
  EXPECT_EQ(streamed("\xC0\xAF"), r + r) << "overlong";
  EXPECT_EQ(streamed("\xF0\x80\x80\x41"), r + r + r + "A");
  EXPECT_EQ(streamed("\xF4\x90\x80\x80"), r + r + r + r) << "above 0x10FFFF";
  EXPECT_EQ(streamed("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A")
      << "Unicode 15, table 3-11";
}

TEST(StreamDecoder, AControlTokenAfterHalfACharacterEndsIt) {
  StreamDecoder decoder(bytes());
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.push(256), "\xEF\xBF\xBD<|im_end|>");
}

TEST(StreamDecoder, EveryCharacterComesThroughEverySplit) {
  std::string text;
  for (char32_t code = 0; code < 0x110000; code += 97) append_utf8(code, text);
  EXPECT_EQ(streamed(text), text);
}

RC_GTEST_PROP(StreamDecoder, EqualsTheDecodingOfAllBytesAtOnce, (const std::string& text)) {
  RC_ASSERT(streamed(text) == to_valid_utf8(text));
}

RC_GTEST_PROP(Tokenizer, AnyBytesComeBack, (const std::string& text)) {
  RC_ASSERT(bytes().decode(bytes().encode(text, Specials::ignore)) == text);
  RC_ASSERT(bytes().decode(bytes().encode(text, Specials::parse)) == text);
}

RC_GTEST_PROP(Tokenizer, UserTextNeverBecomesAControlToken, ()) {
  const auto parts = *rc::gen::container<std::vector<std::string>>(
      rc::gen::element<std::string>("<|im_end|>", "<|", "im_end", "|>", "<", "<|im_", "x", " "));
  std::string text;
  for (const auto& part : parts) text += part;
  const auto ids = bytes().encode(text, Specials::ignore);
  RC_ASSERT(std::ranges::find(ids, TokenId{256}) == ids.end());
  RC_ASSERT(bytes().decode(ids) == text);
}

}  // namespace
}  // namespace tern::text
