#include "text/pattern.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>
#include <string>

#include "text/pattern_syntax.h"
#include "text/tekken.h"
#include "text/utf8.h"

namespace tern::text {
namespace {

std::vector<std::string> matches(std::string_view expression, std::string_view text) {
  const Pattern pattern = Pattern::compile(expression, "test").value();
  PatternSearch search(pattern, text);
  std::vector<std::string> found;
  while (const auto match = search.next())
    found.emplace_back(text.substr(match->begin, match->end - match->begin));
  return found;
}

ErrorCode error_of(std::string_view expression) {
  const auto pattern = Pattern::compile(expression, "test");
  return pattern ? ErrorCode::internal : pattern.error().code;
}

using Found = std::vector<std::string>;

TEST(Pattern, TakesTheFirstAlternativeThatMatchesAndNotTheLongest) {
  EXPECT_EQ(matches("a|ab|abc", "abc"), (Found{"a"}));
  EXPECT_EQ(matches("(?:a|ab)c", "abc"), (Found{"abc"}));
  EXPECT_EQ(matches("a*?b|a", "aab"), (Found{"aab"}));
}

TEST(Pattern, SpaceBeforeAWordIsLeftToTheWord) {
  EXPECT_EQ(matches(R"(\s+(?!\S)|\s+)", "a   b  "), (Found{"  ", " ", "  "}));
}

TEST(Pattern, CountsAnInvalidSubpartAsOneReplacementCharacter) {
  EXPECT_EQ(matches(".", "a\xE2\x82z\xFF"), (Found{"a", "\xE2\x82", "z", "\xFF"}));
  EXPECT_EQ(matches(R"(\x{FFFD}+)", "a\xFF\xFE"), (Found{"\xFF\xFE"}));
}

TEST(Pattern, SyntaxErrorsAreCorruptAndSayWhere) {
  for (const std::string_view bad : {"(", ")", "a)", "[", "[a", "*a", "a|*b", "(?:a", "\\", "\\p{L",
                                     "[b-a]", "\\x{110000}", "\\u12", "[a-\\d]", "\xFF"})
    EXPECT_EQ(error_of(bad), ErrorCode::corrupt) << bad;
  const Error error = Pattern::compile("ab(c", "t.json").error();
  EXPECT_EQ(error.where, "t.json, byte 4 of the expression");
}

TEST(Pattern, ConstructsThatCannotBeMatchedInLinearTimeAreUnsupported) {
  for (const std::string_view bad :
       {"(a)\\1", "(?>a)", "(?=a*)", "(?<=a+)b", "(?:ab)++", "\\b", "\\X", "[[:alpha:]]",
        "\\p{Han}", "(?m:.)", "a{3,2}", "\\k<x>", "(?<name>a)"})
    EXPECT_EQ(error_of(bad), ErrorCode::unsupported) << bad;
}

TEST(Pattern, ExpressionsHaveALimitedSize) {
  EXPECT_EQ(error_of(std::string(kMaxExpression + 1, 'a')), ErrorCode::too_large);
  EXPECT_EQ(error_of("a{1001}"), ErrorCode::too_large);
  EXPECT_EQ(error_of("(?:a{1000}){1000}"), ErrorCode::too_large);
  EXPECT_EQ(error_of("(?:){1000}{1000}{1000}{1000}"), ErrorCode::too_large);
  EXPECT_EQ(error_of(std::string(1000, '(') + std::string(1000, ')')), ErrorCode::too_large);
  EXPECT_EQ(error_of(std::string(1000, '[')), ErrorCode::too_large);
}

TEST(Pattern, TakesLinearTimeWhereBacktrackersTakeQuadraticOrWorse) {
  const std::string letters(400'000, 'a');
  const std::string spaces(400'000, ' ');
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(matches("(?:a*)*b", letters).size(), 0u);
  EXPECT_EQ(matches("(?:a|a|aa)+b|a", letters).size(), letters.size());
  EXPECT_EQ(matches("(?:a|a){28}b", letters.substr(0, 50'000)).size(), 0u);
  EXPECT_EQ(matches("a*b|a", letters).size(), letters.size());
  EXPECT_EQ(matches("a++b|a", letters).size(), letters.size());
  EXPECT_EQ(matches("(?:a+)+?(?!a)x|a", letters).size(), letters.size());
  EXPECT_EQ(matches(R"(\s*[\r\n]+|\s)", spaces).size(), spaces.size());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

/// A text of the characters that tell the branches of the Tekken expression apart, and some bytes.
rc::Gen<std::string> tekken_text() {
  return rc::gen::map(
      rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
          "a", "B", "\xC7\x85", "\xCA\xB0", "\xE6\xBC\xA2", "\xCC\x81", "1", "\xC2\xB2", " ", "\t",
          "\n", "\r", "\xC2\xA0", "\xC2\x85", ".", "/", "'", "\xF0\x9F\x98\x80", "\xE2\x80\x8D",
          "\xFF", "\xE2\x82", std::string(1, '\0'))),
      [](const std::vector<std::string>& parts) {
        std::string text;
        for (const auto& part : parts) text += part;
        return text;
      });
}

RC_GTEST_PROP(Tekken, ScannerAndExpressionAgree, ()) {
  static const Pattern pattern = Pattern::compile(kTekkenExpression, "tekken").value();
  for (int i = 0; i < 20; ++i) {
    const std::string text = *tekken_text();
    PatternSearch search(pattern, text);
    std::size_t at = 0;
    while (const auto match = search.next()) {
      RC_ASSERT(match->begin == at);
      RC_ASSERT(tekken_match(std::string_view(text).substr(at)) == match->end - at);
      at = match->end;
    }
    RC_ASSERT(at == text.size());
  }
}

TEST(Tekken, ScannerAndExpressionAgreeOnEveryCodePointBetweenOthers) {
  const Pattern pattern = Pattern::compile(kTekkenExpression, "tekken").value();
  std::string text;
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0x30000 && code < 0xE0000) continue;
    append_utf8(code, text);
    text += "aB \n.\t1"[code % 7];
  }
  PatternSearch search(pattern, text);
  std::size_t at = 0;
  while (const auto match = search.next()) {
    ASSERT_EQ(match->begin, at);
    ASSERT_EQ(tekken_match(std::string_view(text).substr(at)), match->end - at) << at;
    at = match->end;
  }
  EXPECT_EQ(at, text.size());
}

}  // namespace
}  // namespace tern::text
