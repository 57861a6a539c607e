#include "cli/options.h"

#include <gmock/gmock.h>

#include "cli/help.h"

namespace tern::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

enum class Format { md, csv };

/// A command with one option of each kind.
struct Example {
  Example() : options("tern example", "an example") {
    options.group("Things");
    options.text("-m,--model", "MODEL", model, "the model", ValueKind::model);
    options.text("MODEL", "MODEL", positional, "the same", ValueKind::model);
    options.exclusive({"--model", "MODEL"});
    options.flag("--raw", raw, "no template");
    options.texts("--stop", "TEXT", stops, "where to stop");
    options.integer("-t,--threads", threads, {1, 1024}, "threads");
    options.integers("-d,--depth", depths, {0, 4096}, "depths");
    options.real("--temp", temperature, {0, 100}, "temperature");
    options.choice("-o,--output", format, {{"md", Format::md}, {"csv", Format::csv}}, "format");
    options.close();
  }

  Result<void> parse(std::vector<const char*> arguments) { return options.parse(arguments); }

  /// The error of a command line that must be refused.
  Error refusal(std::vector<const char*> arguments) {
    const auto result = parse(std::move(arguments));
    EXPECT_FALSE(result);
    return result ? Error{} : result.error();
  }

  Options options;
  std::optional<std::string> model, positional;
  std::optional<std::uint64_t> threads;
  std::optional<float> temperature;
  std::vector<std::string> stops;
  std::vector<std::uint64_t> depths;
  Format format = Format::md;
  bool raw = false;
};

TEST(Options, StoreWhatWasTyped) {
  Example example;
  ASSERT_TRUE(example.parse(
      {"--model", "demo", "--raw", "-t", "8", "--temp=0.5", "-d", "0,4096", "-o", "csv"}));
  EXPECT_EQ(example.model, "demo");
  EXPECT_TRUE(example.raw);
  EXPECT_EQ(example.threads, 8u);
  EXPECT_EQ(example.temperature, 0.5f);
  EXPECT_THAT(example.depths, ElementsAre(0, 4096));
  EXPECT_EQ(example.format, Format::csv);
  EXPECT_TRUE(example.options.given("--raw"));
  EXPECT_FALSE(example.options.given("--stop"));
}

TEST(Options, LeaveDefaultsAloneWhenNothingIsTyped) {
  Example example;
  ASSERT_TRUE(example.parse({}));
  EXPECT_EQ(example.model, std::nullopt);
  EXPECT_EQ(example.threads, std::nullopt);
  EXPECT_FALSE(example.raw);
}

TEST(Options, TakeAPositionalArgument) {
  Example example;
  ASSERT_TRUE(example.parse({"demo", "--raw"}));
  EXPECT_EQ(example.positional, "demo");
}

TEST(Options, KeepValuesAsTheyAreWhateverTheyLookLike) {
  for (const char* value : {"-5", "--raw", "[a,b]", "{}", "", "%%", "a=b", "--", "-", "\"x\""}) {
    Example example;
    ASSERT_TRUE(example.parse({"--stop", value, "--stop", "second"})) << value;
    EXPECT_THAT(example.stops, ElementsAre(value, "second"));
  }
}

TEST(Options, AfterTwoDashesNothingIsAnOption) {
  for (const char* value : {"-5", "--raw", "-m", "--"}) {
    Example example;
    ASSERT_TRUE(example.parse({"--", value})) << value;
    EXPECT_EQ(example.positional, value);
    EXPECT_FALSE(example.raw);
  }
}

TEST(Options, TheLastOfARepeatedOptionCounts) {
  Example example;
  ASSERT_TRUE(example.parse({"-t", "1", "-t", "2"}));
  EXPECT_EQ(example.threads, 2u);
}

TEST(Options, AnUnknownOptionIsRefusedWithTheNearestName) {
  Example example;
  const Error error = example.refusal({"--thread", "4"});
  EXPECT_EQ(error.code, ErrorCode::usage);
  EXPECT_EQ(error.where, "--thread");
  EXPECT_EQ(error.hint, "did you mean --threads?");
  EXPECT_EQ(Example().refusal({"--tmep=1"}).hint, "did you mean --temp?");
  EXPECT_THAT(Example().refusal({"--zzzzzzzz"}).hint, HasSubstr("--help"));
}

TEST(Options, AnArgumentTooManyIsRefused) {
  Example example;
  const Error error = example.refusal({"demo", "more"});
  EXPECT_EQ(error.where, "more");
  EXPECT_EQ(error.code, ErrorCode::usage);
}

TEST(Options, AMissingValueIsRefused) {
  Example example;
  const Error error = example.refusal({"--model"});
  EXPECT_EQ(error.where, "--model");
  EXPECT_EQ(error.what, "needs a value");
}

TEST(Options, AFlagTakesNoValue) {
  EXPECT_EQ(Example().refusal({"--raw=maybe"}).code, ErrorCode::usage);
}

TEST(Options, NumbersOutsideTheirRangeAreRefused) {
  for (const char* value : {"0", "1025", "-1", "x", "", " 8", "8 ", "1e3", "0x10", "8.5",
                            "99999999999999999999999", "+8"}) {
    Example example;
    const Error error = example.refusal({"--threads", value});
    EXPECT_EQ(error.where, "--threads") << value;
    EXPECT_THAT(error.what, HasSubstr("1 to 1024")) << value;
  }
  for (const char* value : {"nan", "inf", "-0.1", "101", "1e999", "warm", "", "0,5"}) {
    Example example;
    EXPECT_EQ(example.refusal({"--temp", value}).where, "--temp") << value;
  }
}

TEST(Options, LeadingZerosAreDecimal) {
  Example example;
  ASSERT_TRUE(example.parse({"-t", "010"}));
  EXPECT_EQ(example.threads, 10u);
}

TEST(Options, AListWithABadPartIsRefused) {
  for (const char* value : {"1,", ",1", "1,,2", "1;2", "1,4097"})
    EXPECT_EQ(Example().refusal({"-d", value}).where, "--depth") << value;
}

TEST(Options, AChoiceOutsideItsListIsRefusedWithTheNearestOne) {
  Example example;
  const Error error = example.refusal({"-o", "cvs"});
  EXPECT_EQ(error.where, "--output");
  EXPECT_THAT(error.what, HasSubstr("md, csv"));
  EXPECT_EQ(error.hint, "did you mean csv?");
}

TEST(Options, ExclusiveOptionsCannotBeCombined) {
  Example example;
  const Error error = example.refusal({"--model", "a", "b"});
  EXPECT_EQ(error.where, "MODEL");
  EXPECT_THAT(error.what, HasSubstr("--model"));
}

TEST(Options, AnAliasIsTheOptionItStandsFor) {
  Example example;
  example.options.alias("-tmp", "--temp");
  ASSERT_TRUE(example.parse({"-tmp", "2", "-m", "x"}));
  EXPECT_EQ(example.temperature, 2.0f);
}

TEST(Options, HelpIsNoErrorWhateverElseIsMissing) {
  Example example;
  ASSERT_TRUE(example.parse({"--help"}));
  EXPECT_TRUE(example.options.help_requested());
}

TEST(Help, ListsEveryOptionUnderItsGroup) {
  Example example;
  const auto text = command_help(example.options, 80);
  for (const auto& info : example.options.infos())
    for (const auto& name : info.names) EXPECT_THAT(text, HasSubstr(name));
  EXPECT_THAT(text, HasSubstr("\nThings:\n"));
  EXPECT_THAT(text, HasSubstr("-o, --output md|csv"));
  EXPECT_THAT(text, HasSubstr("Exit status"));
}

TEST(Help, NoOptionIsWiderThanTheTerminal) {
  Example example;
  for (const std::size_t width : {60u, 80u, 100u}) {
    auto text = command_help(example.options, width);
    text.resize(text.find("Exit status"));
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      EXPECT_LE(end - at, width) << text.substr(at, end - at);
      at = end + 1;
    }
  }
}

TEST(Wrap, BreaksAtSpacesOnly) {
  EXPECT_EQ(wrap("one two three", 2, 7), "one two\n  three");
  EXPECT_EQ(wrap("unbreakable word", 0, 4), "unbreakable\nword");
  EXPECT_EQ(wrap("", 4, 10), "");
}

}  // namespace
}  // namespace tern::cli
