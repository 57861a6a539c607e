// tern eval, on the embedded model.
#include <gmock/gmock.h>

#include <boost/json.hpp>

#include "process.h"

namespace tern::system {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

Outcome eval(std::vector<std::string> more, std::string input = {}) {
  more.insert(more.begin(), "eval");
  return run_tern(std::move(more), std::move(input));
}

json::object object(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, IsEmpty());
  boost::system::error_code error;
  const auto value = json::parse(outcome.out, error);
  EXPECT_TRUE(value.is_object()) << outcome.out;
  return value.is_object() ? value.get_object() : json::object();
}

double number(const json::value& value) {
  return value.to_number<double>();
}

std::string text() {
  std::string text;
  for (int i = 0; i < 20; ++i)
    text += "The river was close to the bridge. The code for amber is " + std::to_string(i * 37) +
            ". The old man waited near the harbor. ";
  return text;
}

TEST(EvalPpl, IsTheSameForAnyThreadsAndChunks) {
  const TemporaryFolder folder;
  const auto file = folder.write("text", text());
  const auto one = object(eval({"ppl", "demo", "-f", file, "-c", "64", "--json", "-t", "1"}));
  const auto two =
      object(eval({"ppl", "demo", "-f", "-", "-c", "64", "--json", "-t", "2"}, text()));
  EXPECT_EQ(one.at("perplexity"), two.at("perplexity"));
  EXPECT_GT(number(one.at("perplexity").at("value")), 1);
  EXPECT_EQ(one.at("tokens").to_number<int>(), one.at("windows").to_number<int>() * 31);
}

TEST(EvalPpl, MakesUpItsTextAndPrintsATable) {
  const auto outcome = eval({"ppl", "demo", "--windows", "2"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(StartsWith("| model |"), HasSubstr("2 of 512")));
  EXPECT_EQ(outcome.out, eval({"ppl", "demo", "--windows", "2"}).out);
  EXPECT_NE(outcome.out, eval({"ppl", "demo", "--windows", "2", "--seed", "2"}).out);
}

TEST(EvalPpl, RefusesWhatCannotBeMeasured) {
  const TemporaryFolder folder;
  const auto empty = folder.write("empty", ""), little = folder.write("little", "Hello there");
  const auto refused = [](std::vector<std::string> more, int status, const char* said) {
    more.insert(more.begin(), {"ppl", "demo"});
    const auto outcome = eval(more);
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(said));
    EXPECT_THAT(outcome.out, IsEmpty());
  };
  refused({"-f", empty}, 64, "empty");
  refused({"-f", little}, 64, "too few");
  refused({"-f", "/no/such/text"}, 66, "/no/such/text");
  refused({"-c", "10000"}, 69, "8192");
  refused({"-f", little, "-c", "8", "--stride", "9"}, 64, "--stride");
  refused({"-c", "1"}, 64, "--ctx");
}

TEST(EvalKld, AnExactBaseShowsThatTheModelEqualsItself) {
  const TemporaryFolder folder;
  const auto base = folder.file("base");
  object(eval(
      {"kld", "demo", "--windows", "1", "-c", "256", "--exact", "--save-base", base, "--json"}));
  const auto same = object(eval({"kld", "demo", "--base", base, "--json"}));
  EXPECT_EQ(number(same.at("kld").at("max")), 0);
  EXPECT_EQ(number(same.at("same_top").at("value")), 1);
  const auto other = object(eval({"kld", "demo", "--base", base, "--json", "--kv", "bf16"}));
  EXPECT_GT(number(other.at("kld").at("max")), 0);
  EXPECT_LT(number(other.at("kld").at("max")), 1e-3);
}

TEST(EvalKld, RefusesABaseThatIsNone) {
  const TemporaryFolder folder;
  auto outcome = eval({"kld", "demo", "--base", folder.write("base", "not one")});
  EXPECT_EQ(outcome.status, 65) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("TERNBASE"));
  EXPECT_EQ(eval({"kld", "demo"}).status, 64);
  EXPECT_EQ(eval({"kld", "demo", "--base", "x", "--save-base", "y"}).status, 64);
  EXPECT_EQ(eval({"kld", "demo", "--base", "x", "-f", "y"}).status, 64);
}

TEST(EvalKld, AnInterruptedSaveLeavesNoFile) {
  const TemporaryFolder folder;
  Process process(Invocation{.arguments = {"eval", "kld", "demo", "--windows", "60", "-c", "2048",
                                           "--save-base", folder.file("base")}},
                  Process::Streams::terminal);
  EXPECT_TRUE(process.wait_for("saving logits"));
  process.signal(SIGINT);
  EXPECT_EQ(process.finish().status, 130);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(EvalNeedle, PrintsTheGridAndDrawsIt) {
  const TemporaryFolder folder;
  const auto picture = folder.file("needle.svg");
  const auto outcome =
      eval({"needle", "demo", "--lengths", "192,256", "--depths", "3", "--svg", picture});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("192 tokens"), HasSubstr("50 %"), HasSubstr("of 6")));
  EXPECT_THAT(read_file(picture), AllOf(StartsWith("<svg"), HasSubstr("prefers-color-scheme")));
  EXPECT_EQ(eval({"needle", "demo", "--lengths", "9000"}).status, 69);
}

TEST(EvalDistortion, FindsTheTheory) {
  const auto report = object(eval({"distortion", "--dims", "128", "--bits", "2,4", "--vectors",
                                   "2048", "--structured", "200", "--json"}));
  for (const auto& row : report.at("random").as_array()) {
    const double ratio = number(row.at("mse").at("value")) / number(row.at("mse_theory"));
    EXPECT_NEAR(ratio, 1, 0.02);
  }
  for (const auto& row : report.at("rotations").as_array()) EXPECT_LT(number(row.at("gram")), 1e-6);
  EXPECT_EQ(eval({"distortion", "--bits", "6"}).status, 64);
  EXPECT_EQ(eval({"distortion", "--dims", "100"}).status, 65);
}

TEST(EvalKv, ComparesTypesAndWritesThreeFiles) {
  const TemporaryFolder folder;
  const auto report = object(
      eval({"kv", "demo", "--types", "f16,bf16", "--windows", "1", "-c", "256", "--recall", "2",
            "--recall-length", "192", "--arithmetic", "2", "--json", "-o", folder.file("report")}));
  const auto& types = report.at("types").as_array();
  ASSERT_EQ(types.size(), 2u);
  EXPECT_EQ(number(types[0].at("kld").at("max")), 0);
  EXPECT_EQ(types[0].at("bytes_per_token").to_number<int>(), 2048);
  EXPECT_GT(number(types[1].at("kld").at("max")), 0);
  EXPECT_EQ(types[1].at("recall").at("asked").to_number<int>(), 2);
  EXPECT_EQ(types[1].at("questions").at("asked").to_number<int>(), 2);
  EXPECT_THAT(read_file(folder.file("report.md")), HasSubstr("| bf16"));
  EXPECT_THAT(read_file(folder.file("report.json")), StartsWith("{"));
  EXPECT_THAT(read_file(folder.file("report.svg")), StartsWith("<svg"));
  EXPECT_EQ(eval({"kv", "demo", "--types", "f16,none"}).status, 64);
}

}  // namespace
}  // namespace tern::system
