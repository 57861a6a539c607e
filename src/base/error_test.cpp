#include "base/error.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "base/printable.h"
#include "base/test_paths.h"

namespace tern {
namespace {

constexpr ErrorCode kLastCode = ErrorCode::offline;

TEST(Errors, AreOneLineWithPlaceAndHint) {
  EXPECT_EQ((Error{ErrorCode::corrupt, "what"}.message()), "what");
  EXPECT_EQ((Error{ErrorCode::corrupt, "what", "where"}.message()), "where: what");
  EXPECT_EQ((Error{ErrorCode::corrupt, "what", "where", "hint"}.message()), "where: what (hint)");
}

TEST(Errors, HaveDistinctNamesAndAnExitStatusThatIsAFailure) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(kLastCode); ++code) {
    names.insert(name(static_cast<ErrorCode>(code)));
    const int status = exit_status(static_cast<ErrorCode>(code));
    EXPECT_GT(status, 0);
    EXPECT_LT(status, 256);
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kLastCode) + 1);
}

TEST(Errors, HaveARowEachInTheDocs) {
  std::ifstream file(source_dir() + "/docs/errors.md");
  const std::string docs(std::istreambuf_iterator<char>(file), {});
  for (int i = 0; i <= static_cast<int>(kLastCode); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    const auto row = fmt::format("| `{}` | {} |", name(code), exit_status(code));
    EXPECT_NE(docs.find(row), std::string::npos) << row;
  }
}

Result<int> half(int number) {
  if (number % 2 != 0) return fail(ErrorCode::usage, "odd");
  return number / 2;
}
Result<int> quarter(int number) {
  TERN_TRY(const int once, half(number));
  TERN_TRY_VOID(half(once));
  return half(once);
}

TEST(Errors, ArePassedOnByTheMacros) {
  EXPECT_EQ(quarter(8), 2);
  EXPECT_EQ(quarter(6).error().what, "odd");
  EXPECT_EQ(quarter(5).error().what, "odd");
}

TEST(Printable, ShowsNamesWithoutWhatATerminalWouldObey) {
  EXPECT_EQ(printable("blk.0.ffn_up.weight"), "\"blk.0.ffn_up.weight\"");
  EXPECT_EQ(printable(std::string_view("a\0\x1b[31m\n\x7f\xc3\xa9", 10)),
            "\"a\\x00\\x1b[31m\\x0a\\x7f\\xc3\"");
  EXPECT_EQ(printable("abcdef", 3), "\"abc...\"");
  EXPECT_EQ(printable("abc", 3), "\"abc\"");
  EXPECT_EQ(printable(""), "\"\"");
}

}  // namespace
}  // namespace tern
