// What all commands share: help, wrong usage, and the manners of a program in a pipe.
#include <gmock/gmock.h>

#include <set>

#include "base/test_paths.h"
#include "process.h"

namespace tern::system {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr const char* kCommands[] = {
    "generate", "chat",     "info",       "tokenize", "template",    "logits",
    "variants", "pull",     "list",       "rm",       "bench",       "fold",
    "convert",  "quantize", "eval ppl",   "eval kld", "eval needle", "eval distortion",
    "eval kv",  "imatrix",  "completion", "version",  "help"};

/// "eval ppl" as the two arguments that it is.
std::vector<std::string> words(const std::string& command) {
  const auto space = command.find(' ');
  if (space == std::string::npos) return {command};
  return {command.substr(0, space), command.substr(space + 1)};
}

TEST(Program, ListsItsCommands) {
  for (const char* help : {"--help", "-h", "help"}) {
    const auto outcome = run_tern({help});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.err, IsEmpty());
    for (const char* command : kCommands) EXPECT_THAT(outcome.out, HasSubstr(command));
  }
}

TEST(Program, WithoutArgumentsShowsTheHelpAsAnError) {
  const auto outcome = run_tern({});
  EXPECT_EQ(outcome.status, 64);
  EXPECT_THAT(outcome.out, IsEmpty());
  EXPECT_THAT(outcome.err, HasSubstr("Usage:"));
}

TEST(Program, ExplainsEveryCommand) {
  for (const std::string command : kCommands) {
    auto asking = words(command), explaining = words(command);
    asking.push_back("--help");
    explaining.insert(explaining.begin(), "help");
    const auto asked = run_tern(asking), explained = run_tern(explaining);
    EXPECT_EQ(asked.status, 0) << command;
    EXPECT_THAT(asked.out, HasSubstr("Usage: tern " + command));
    EXPECT_EQ(asked.out, explained.out);
  }
}

TEST(Program, TellsItsVersion) {
  EXPECT_THAT(run_tern({"--version"}).out, StartsWith("tern 0."));
  EXPECT_EQ(run_tern({"--version"}).out, run_tern({"version"}).out);
  EXPECT_THAT(run_tern({"version"}).out, HasSubstr("\nused: "));
}

TEST(Program, RefusesWhatDoesNotExistAndNamesTheNearest) {
  auto outcome = run_tern({"genrate"});
  EXPECT_EQ(outcome.status, 64);
  EXPECT_EQ(outcome.err,
            "tern: error: genrate: no such command\nhint: did you mean \"tern generate\"?\n");
  outcome = run_tern({"generate", "-m", "demo", "--promt", "hi"});
  EXPECT_EQ(outcome.status, 64);
  EXPECT_EQ(outcome.err, "tern: error: --promt: no such option\nhint: did you mean --prompt?\n");
  EXPECT_THAT(outcome.out, IsEmpty());
}

TEST(Program, RefusesOptionsOfOtherCommands) {
  EXPECT_EQ(run_tern({"tokenize", "-m", "demo", "--temp", "1", "x"}).status, 64);
  EXPECT_EQ(run_tern({"info", "-m", "demo", "--prompt", "x"}).status, 64);
  EXPECT_EQ(run_tern({"version", "--json"}).status, 64);
  EXPECT_EQ(run_tern({"version", "extra"}).status, 64);
}

TEST(Program, RefusesNumbersOutsideTheirRange) {
  for (const auto& [option, value] :
       std::initializer_list<std::pair<const char*, const char*>>{{"--threads", "0"},
                                                                  {"--threads", "1025"},
                                                                  {"--threads", "-1"},
                                                                  {"--threads", "many"},
                                                                  {"--temp", "-1"},
                                                                  {"--temp", "nan"},
                                                                  {"--temp", "inf"},
                                                                  {"--top-p", "0"},
                                                                  {"--top-p", "1.1"},
                                                                  {"--min-p", "1"},
                                                                  {"--top-k", "-1"},
                                                                  {"--seed", "-1"},
                                                                  {"--seed", "1.5"},
                                                                  {"--max-tokens", "-1"},
                                                                  {"--ctx", "99999999999"},
                                                                  {"--kv", "turbo9"},
                                                                  {"--prefill-chunk", "0"},
                                                                  {"--logit-bias", "x=1"},
                                                                  {"--logit-bias", "1=nan"},
                                                                  {"--presence-penalty", "3"},
                                                                  {"--repetition-penalty", "0"},
                                                                  {"--isa", "sse9"}}) {
    const auto outcome = run_tern({"generate", "-m", "demo", "-p", "hi", option, value});
    EXPECT_EQ(outcome.status, 64) << option << " " << value << "\n" << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(StartsWith("tern: error: "), HasSubstr(option)));
    EXPECT_THAT(outcome.out, IsEmpty());
  }
}

TEST(Program, ErrorsHaveTheExitStatusOfTheirCode) {
  const TemporaryFolder folder;
  EXPECT_EQ(run_tern({"info", "-m", "/no/such/model"}).status, 66);
  EXPECT_EQ(run_tern({"info", "-m", folder.write("bad.gguf", "GGUF, but no more")}).status, 65);
  EXPECT_EQ(run_tern({"info"}).status, 64);
  EXPECT_EQ(run_tern({"generate", "-m", "demo"}).status, 64);
}

TEST(Program, TheEnvironmentNamesTheModel) {
  const auto outcome = run(Invocation{.arguments = {"tokenize", "--count", "hello"},
                                      .environment = {{"TERN_MODEL", "demo"}}});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST(Program, NamesFromOutsideCannotSteerTheTerminal) {
  const auto outcome = run_tern({"info", "-m", "/no/\x1b[2Jsuch"});
  EXPECT_EQ(outcome.status, 66);
  EXPECT_EQ(outcome.err.find('\x1b'), std::string::npos);
}

TEST(Program, AFullDiskIsAnError) {
  const auto outcome = run_bash(binary_dir() + "/tern help >/dev/full");
  EXPECT_EQ(outcome.status, 74);
  EXPECT_THAT(outcome.err, StartsWith("tern: error: standard output: cannot write"));
}

TEST(Program, AClosedStandardOutputIsAnError) {
  const auto outcome = run_bash(binary_dir() + "/tern help >&-");
  EXPECT_EQ(outcome.status, 74);
  EXPECT_THAT(outcome.err, StartsWith("tern: error: standard output: cannot write"));
}

TEST(Program, AReaderThatLeavesEndsItQuietly) {
  Process process(Invocation{.arguments = {"tokenize", "-m", "demo", "--pieces", "-"}});
  process.close_output();
  process.send_all(std::string(1 << 20, 'x'));
  const auto outcome = process.finish();
  EXPECT_EQ(outcome.status, 141);
  EXPECT_FALSE(outcome.killed_by_signal);
  EXPECT_THAT(outcome.err, IsEmpty());
}

TEST(Completion, EveryShellKnowsEveryOption) {
  const auto bash = run_tern({"completion", "bash"}), zsh = run_tern({"completion", "zsh"}),
             fish = run_tern({"completion", "fish"});
  for (const auto& outcome : {bash, zsh, fish}) {
    EXPECT_EQ(outcome.status, 0);
    for (const char* command : kCommands)
      for (const auto& word : words(command)) EXPECT_THAT(outcome.out, HasSubstr(word));
    EXPECT_THAT(outcome.out, HasSubstr("reasoning-budget"));
  }
  EXPECT_EQ(run_tern({"completion", "tcsh"}).status, 64);
  EXPECT_EQ(run_tern({"completion"}).status, 64);
}

TEST(Completion, BashCompletesCommandsOptionsAndValues) {
  const TemporaryFolder folder;
  const auto script = folder.write("tern.bash", run_tern({"completion", "bash"}).out);
  const auto complete = [&](const std::string& words, int index) {
    return run_bash("cd " + folder.path().string() + "; source " + script + "; COMP_WORDS=(" +
                    words + "); COMP_CWORD=" + std::to_string(index) +
                    "; _tern; printf '%s ' \"${COMPREPLY[@]}\"")
        .out;
  };
  EXPECT_EQ(complete("tern gen", 1), "generate ");
  EXPECT_EQ(complete("tern generate --reasoning-b", 2), "--reasoning-budget ");
  EXPECT_EQ(complete("tern generate --kv b", 3), "bf16 ");
  EXPECT_EQ(complete("tern info de", 2), "demo ");
  EXPECT_EQ(complete("tern info -m TurboQuant-MLX-M", 3),
            "TurboQuant-MLX-MXFP4 TurboQuant-MLX-MXFP4-TQ-KV ");
  EXPECT_EQ(complete("tern completion f", 2), "fish ");
  EXPECT_EQ(complete("tern ev", 1), "eval ");
  EXPECT_EQ(complete("tern eval n", 2), "needle ");
  EXPECT_EQ(complete("tern eval needle --dep", 3), "--depths ");
}

TEST(Documentation, NamesEveryOptionAndNoOther) {
  const auto text = read_file(source_dir() + "/docs/cli.md");
  ASSERT_THAT(text, HasSubstr("tern generate"));
  std::string helps;
  for (const std::string command : kCommands) {
    const auto section = text.find("\n## tern " + command + "\n");
    ASSERT_NE(section, std::string::npos) << command << " has no section in docs/cli.md";
    auto asking = words(command);
    asking.push_back("--help");
    helps += run_tern(asking).out;
  }
  const auto names = [](const std::string& page) {
    std::set<std::string> found;
    for (auto at = page.find("--"); at != std::string::npos; at = page.find("--", at + 2)) {
      const auto end = page.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at);
      const auto name = page.substr(at, end - at);
      const bool word = at == 0 || std::string(" `[\n(\"").find(page[at - 1]) != std::string::npos;
      if (word && name.size() > 3 && name[2] != '-') found.insert(name);
    }
    return found;
  };
  EXPECT_EQ(names(text), names(helps + run_tern({"--help"}).out + " --version "));
}

TEST(Quantize, WritesAModelThatAnswers) {
  const TemporaryFolder folder;
  const std::string target = (folder.path() / "demo-4bit").string();
  const auto written = run_tern({"quantize", "demo", target, "--bits", "4"});
  EXPECT_EQ(written.status, 0) << written.err;
  const auto answer = run_tern({"generate", "-m", target, "-p", "Solve: 17 * 23", "--temp", "0"});
  EXPECT_EQ(answer.status, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("391"));
  const auto again = run_tern({"quantize", "demo", target, "--bits", "2"});
  EXPECT_EQ(again.status, 64);
  EXPECT_THAT(again.err, HasSubstr("exists already"));
  EXPECT_THAT(run_tern({"quantize", target, target + "-2"}).err, HasSubstr("quantized"));
  EXPECT_FALSE(std::filesystem::exists(target + "-2"));
}

TEST(Program, SaysSoWhenAModelFileIsCutShortWhileInUse) {
  const TemporaryFolder folder;
  const std::filesystem::path demo = source_dir() + "/demo/model";
  std::filesystem::copy(demo, folder.path() / "model");
  Process chat({.arguments = {"chat", (folder.path() / "model").string(), "--threads", "2"}});
  chat.send("Hello\n");
  ASSERT_TRUE(chat.wait_for("\n"));
  std::filesystem::resize_file(folder.path() / "model/model.safetensors", 4096);
  chat.send("Hello again\n");
  chat.close_input();
  const auto outcome = chat.finish();
  EXPECT_EQ(outcome.status, 74);
  EXPECT_FALSE(outcome.killed_by_signal);
  EXPECT_THAT(outcome.err, HasSubstr("a model file can no longer be read"));
}

}  // namespace
}  // namespace tern::system
