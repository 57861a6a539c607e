// What the program shows: tables, progress, suggestions, sizes, safe text.
#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "base/suggest.h"
#include "cli/progress.h"
#include "cli/stats.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace tern::cli {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(Table, AlignsColumnsByCharactersNotBytes) {
  Table table({{"test", Table::Align::right}, {"t/s", Table::Align::right}});
  table.add({"pp512", "10.5 \u00b1 0.1"});
  table.add({"tg128 @ d4096", "7"});
  EXPECT_EQ(table.markdown(),
            "|          test |        t/s |\n"
            "| ------------: | ---------: |\n"
            "|         pp512 | 10.5 \u00b1 0.1 |\n"
            "| tg128 @ d4096 |          7 |\n");
}

TEST(Table, EscapesWhatWouldBreakARow) {
  Table table({{"name"}});
  table.add({"a|b\nc"});
  EXPECT_THAT(table.markdown(), EndsWith("| a\\|b c |\n"));
}

TEST(Csv, QuotesCellsWithCommasQuotesAndNewlines) {
  EXPECT_EQ(csv_line({"a", "b,c", "d\"e", ""}), "a,\"b,c\",\"d\"\"e\",\n");
}

TEST(ProgressText, FitsTheTerminal) {
  for (std::size_t width = 20; width < 200; ++width)
    EXPECT_LT(progress_text("reading the prompt", 123456, 1234567, width).size(), width);
}

TEST(ProgressText, GoesFromEmptyToFull) {
  EXPECT_THAT(progress_text("x", 0, 10, 80), Not(HasSubstr("#")));
  EXPECT_THAT(progress_text("x", 10, 10, 80), Not(HasSubstr("-]")));
  EXPECT_THAT(progress_text("x", 5, 10, 80), HasSubstr(" 50%  5/10"));
  EXPECT_THAT(progress_text("x", 20, 10, 80), HasSubstr("100%"));
  EXPECT_THAT(progress_text("x", 0, 0, 80), HasSubstr("100%"));
}

TEST(TransferText, HasBytesRateAndRemainingTime) {
  EXPECT_THAT(transfer_text("x", 5'000'000'000, 10'000'000'000, 50e6, 100),
              AllOf(HasSubstr(" 50%  5.0"), HasSubstr("MB/s  1:40")));
  EXPECT_THAT(transfer_text("x", 0, 10'000'000'000, 1e6, 100), HasSubstr("2:46:40"));
  EXPECT_THAT(transfer_text("x", 0, 10, 0, 100), Not(HasSubstr("/s")));
  for (std::size_t width = 20; width < 200; ++width)
    EXPECT_LT(transfer_text("downloading", 1u << 30, 1u << 31, 1e6, width).size(), width);
}

TEST(WorkText, HasThePartOfTheWorkAndTheRemainingTime) {
  EXPECT_THAT(work_text("converting", 0.25, 5'000'000'000, 10'000'000'000, 99.5, 100),
              AllOf(HasSubstr("]   25%  5.00 GB/10.0 GB  1:40 left")));
  EXPECT_THAT(work_text("x", 0, 0, 10, 0, 100),
              AllOf(HasSubstr("0%  0 B/10 B"), Not(HasSubstr("left"))));
  EXPECT_THAT(work_text("x", 1.5, 20, 10, 0, 100), HasSubstr("100%  10 B/10 B"));
  for (std::size_t width = 20; width < 200; ++width)
    EXPECT_LT(work_text("converting", 0.5, 1u << 30, 1u << 31, 1e9, width).size(), width);
}

TEST(Nearest, FindsTypingErrors) {
  const std::vector<std::string> names = {"--temp", "--top-k", "--top-p", "--threads"};
  EXPECT_EQ(nearest("--tmep", names), "--temp");
  EXPECT_EQ(nearest("--thread", names), "--threads");
  EXPECT_EQ(nearest("--temperature", names), std::nullopt);
  EXPECT_EQ(nearest("--kv", names), std::nullopt);
}

TEST(EditDistance, CountsSwapsOfNeighboursAsOne) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", "acb"), 1u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

RC_GTEST_PROP(EditDistance, IsSymmetricAndZeroOnlyForEquals, (std::string a, std::string b)) {
  RC_ASSERT(edit_distance(a, b) == edit_distance(b, a));
  RC_ASSERT((edit_distance(a, b) == 0) == (a == b));
}

TEST(HumanBytes, KeepsThreeDigits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1000), "1.00 kB");
  EXPECT_EQ(human_bytes(48'200'000), "48.2 MB");
  EXPECT_EQ(human_bytes(17'775'342'336), "17.8 GB");
  EXPECT_EQ(human_count(31'577'940'288), "31.6 B");
  EXPECT_EQ(human_count(12), "12");
}

TEST(Printable, LeavesTextAndTakesTerminalControl) {
  EXPECT_EQ(printable("a\tb\n\u00e4\u4e2d"), "a\tb\n\u00e4\u4e2d");
  EXPECT_EQ(printable("\x1b[2J"), "\ufffd[2J");
  EXPECT_EQ(printable("a\rb\x7f"), "a\ufffdb\ufffd");
  EXPECT_EQ(printable("\xc2\x9b"), "\ufffd");  // CSI as one C1 character
}

RC_GTEST_PROP(Printable, NeverLetsAnEscapeThrough, (std::string text)) {
  const auto safe = printable(text);
  RC_ASSERT(safe.find('\x1b') == std::string::npos);
  RC_ASSERT(safe.find('\r') == std::string::npos);
}

}  // namespace
}  // namespace tern::cli
