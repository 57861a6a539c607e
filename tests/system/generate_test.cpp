// tern generate and tern chat on the embedded model. What it answers is not tested here; that it
// answers is.
#include <gmock/gmock.h>

#include <boost/json.hpp>

#include "process.h"

namespace tern::system {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

/// generate on the demo with few tokens.
Outcome generate(std::vector<std::string> more, std::string input = {}) {
  std::vector<std::string> arguments = {"generate", "-m", "demo", "-n", "16", "--temp", "0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_tern(std::move(arguments), std::move(input));
}

/// One that goes on until somebody stops it.
const std::vector<std::string> kEndless = {
    "generate", "-m", "demo", "-p", "Count", "--ignore-eos", "-n", "60000", "--show-thinking"};

TEST(Generate, PrintsAnAnswer) {
  const auto outcome = generate({"-p", "Hello", "--no-think"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, EndsWith("\n"));
  EXPECT_THAT(outcome.err, IsEmpty());
}

TEST(Generate, TheSameSeedGivesTheSameAnswer) {
  const std::vector<std::string> arguments = {
      "generate", "demo",   "-p", "Tell me",        "-n", "24", "--temp",
      "1",        "--seed", "7",  "--show-thinking"};
  const auto first = run_tern(arguments);
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(first.out, run_tern(arguments).out);
}

TEST(Generate, ReadsThePromptFromStandardInput) {
  const auto typed = generate({"-p", "Solve: 1 + 1", "--show-thinking"});
  const auto piped = generate({"-p", "-", "--show-thinking"}, "Solve: 1 + 1");
  EXPECT_EQ(typed.status, 0) << typed.err;
  EXPECT_EQ(typed.out, piped.out);
}

TEST(Generate, JsonIsOneObjectWithEverything) {
  const auto outcome = generate({"-p", "Hello", "--json", "--seed", "5"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, IsEmpty());
  const auto object = json::parse(outcome.out).as_object();
  EXPECT_EQ(object.at("model").as_string(), "demo");
  EXPECT_EQ(object.at("seed").to_number<std::uint64_t>(), 5u);
  EXPECT_TRUE(object.at("content").is_string());
  EXPECT_TRUE(object.at("reasoning").is_string());
  const auto reason = std::string(object.at("finish_reason").as_string());
  EXPECT_TRUE(reason == "stop" || reason == "length") << reason;
  const auto& usage = object.at("usage").as_object();
  EXPECT_GT(usage.at("prompt_tokens").to_number<int>(), 0);
  EXPECT_LE(usage.at("completion_tokens").to_number<int>(), 16);
  EXPECT_EQ(
      usage.at("total_tokens").to_number<int>(),
      usage.at("prompt_tokens").to_number<int>() + usage.at("completion_tokens").to_number<int>());
  EXPECT_LE(usage.at("reasoning_tokens").to_number<int>(),
            usage.at("completion_tokens").to_number<int>());
  EXPECT_GT(object.at("timings").as_object().at("prompt_tokens_per_second").to_number<double>(), 0);
}

TEST(Generate, AnswersAConversation) {
  const TemporaryFolder folder;
  const auto messages = folder.write(
      "chat.json",
      R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}])");
  const auto file = generate({"--messages", messages, "--show-thinking"});
  const auto options = generate({"-s", "Be brief.", "-p", "Hello", "--show-thinking"});
  EXPECT_EQ(file.status, 0) << file.err;
  EXPECT_EQ(file.out, options.out);
  EXPECT_EQ(generate({"--messages", "-", "--show-thinking"}, read_file(messages)).out, file.out);
}

TEST(Generate, OffersTools) {
  const TemporaryFolder folder;
  const auto tools = folder.write("tools.json", R"([{"type": "function", "function": {"name": "f",
    "description": "d", "parameters": {"type": "object", "properties": {}}}}])");
  const auto with = generate({"-p", "Hello", "--tools", tools, "--json"});
  ASSERT_EQ(with.status, 0) << with.err;
  const auto without = generate({"-p", "Hello", "--json"});
  const auto tokens = [](const Outcome& outcome) {
    return json::parse(outcome.out).at("usage").at("prompt_tokens").to_number<int>();
  };
  EXPECT_GT(tokens(with), tokens(without) + 20);
}

TEST(Generate, WarnsOfAContextThatTheModelWasNotMadeFor) {
  const auto run = [](const char* context) {
    return run_tern({"generate", "demo", "-p", "Hi", "--no-think", "-n", "2", "--ctx", context});
  };
  const auto outcome = run("8193");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("a context of 8193 tokens, the model was made for 8192"));
  EXPECT_THAT(run("8192").err, IsEmpty());
}

TEST(Generate, RawPromptsAreLeftAlone) {
  const auto raw = generate({"-p", "Hello", "--raw", "--json"});
  ASSERT_EQ(raw.status, 0) << raw.err;
  EXPECT_LT(json::parse(raw.out).at("usage").at("prompt_tokens").to_number<int>(), 6);
}

TEST(Generate, WrongInputIsNamed) {
  const TemporaryFolder folder;
  EXPECT_EQ(generate({"--messages", "/no/such/file"}).status, 66);
  auto outcome = generate({"--messages", folder.write("a.json", "[{]")});
  EXPECT_EQ(outcome.status, 65);
  outcome = generate({"--messages", folder.write("b.json", "{}")});
  EXPECT_TRUE(outcome.status == 64 || outcome.status == 65) << outcome.status;
  EXPECT_EQ(generate({"-p", "x", "--tools", folder.write("c.json", "{}")}).status, 65);
  EXPECT_EQ(generate({"-p", "x", "--messages", "y"}).status, 64);
  EXPECT_EQ(generate({"-p", "x", "--raw", "--system", "y"}).status, 64);
  EXPECT_EQ(generate({"-p", "x", "--think", "--no-think"}).status, 64);
  EXPECT_EQ(generate({"-p", "", "--raw"}).status, 64);
}

TEST(Generate, ThinkingGoesWhereItIsAskedFor) {
  const auto apart = generate({"-p", "Hello"});
  const auto hidden = generate({"-p", "Hello", "--hide-thinking"});
  const auto shown = generate({"-p", "Hello", "--show-thinking"});
  EXPECT_THAT(hidden.err, IsEmpty());
  EXPECT_EQ(hidden.out, apart.out);
  EXPECT_THAT(shown.out, StartsWith("<think>\n"));
  EXPECT_THAT(shown.err, IsEmpty());
  EXPECT_THAT(apart.out, Not(HasSubstr("think>")));
  EXPECT_THAT(apart.err, Not(IsEmpty()));
}

TEST(Generate, VerboseSaysHowFastItWas) {
  const auto outcome = generate({"-p", "Hello", "-v", "--hide-thinking"});
  EXPECT_THAT(outcome.err,
              AllOf(HasSubstr("Prompt: "), HasSubstr("Generation: "), HasSubstr("Peak memory: ")));
}

TEST(Generate, CtrlCStopsTheAnswer) {
  Process process(Invocation{.arguments = kEndless});
  ASSERT_TRUE(process.wait_for("<think>")) << process.errors();
  process.signal(SIGINT);
  const auto outcome = process.finish();
  EXPECT_EQ(outcome.status, 130);
  EXPECT_FALSE(outcome.killed_by_signal);
  EXPECT_THAT(outcome.out, EndsWith("\n"));
  EXPECT_THAT(outcome.err, IsEmpty());
}

TEST(Generate, CtrlCStillPrintsTheJson) {
  auto arguments = kEndless;
  arguments.insert(arguments.end(), {"--json", "-t", "1"});
  Process process(Invocation{.arguments = arguments});
  EXPECT_EQ(::usleep(1'000'000), 0);
  process.signal(SIGINT);
  const auto outcome = process.finish();
  EXPECT_EQ(outcome.status, 130);
  if (!outcome.out.empty()) {  // it was beyond loading
    EXPECT_EQ(json::parse(outcome.out).at("finish_reason").as_string(), "cancelled");
  }
}

TEST(Generate, AReaderThatLeavesStopsTheAnswer) {
  Process process(Invocation{.arguments = kEndless});
  ASSERT_TRUE(process.wait_for("<think>")) << process.errors();
  process.close_output();
  const auto outcome = process.finish();
  EXPECT_EQ(outcome.status, 141);
  EXPECT_FALSE(outcome.killed_by_signal);
}

}  // namespace
}  // namespace tern::system
