// tern chat: through a pipe, and on a terminal.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <boost/json.hpp>

#include "process.h"

namespace tern::system {
namespace {

namespace json = boost::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::vector<std::string> kChat = {"chat", "-m",     "demo", "-n",
                                        "12",   "--temp", "0",    "--no-think"};
constexpr const char* kCtrlC = "\x03";
constexpr const char* kCtrlD = "\x04";

std::vector<std::string> chat_with(std::vector<std::string> more) {
  auto arguments = kChat;
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

json::array saved(const std::string& path) {
  return json::parse(read_file(path)).as_array();
}

TEST(Chat, EveryLineOfAPipeIsATurn) {
  const TemporaryFolder folder;
  const auto path = folder.file("chat.json");
  const auto outcome = run_tern(kChat, "Hello\n\nMore \\\nlines\n/save " + path + "\n");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const auto messages = saved(path);
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0].at("content").as_string(), "Hello");
  EXPECT_EQ(messages[1].at("role").as_string(), "assistant");
  EXPECT_EQ(messages[2].at("content").as_string(), "More \nlines");
  EXPECT_THAT(outcome.out, HasSubstr(std::string(messages[3].at("content").as_string())));
  EXPECT_THAT(outcome.out, Not(HasSubstr(">>>")));
}

TEST(Chat, GoesOnWhereASavedOneEnded) {
  const TemporaryFolder folder;
  const auto path = folder.file("chat.json");
  run_tern(chat_with({"-s", "Be brief."}), "Hello\n/save " + path + "\n");
  const auto again = folder.file("again.json");
  const auto outcome = run_tern(kChat, "/load " + path + "\nAnd now?\n/save " + again + "\n");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  ASSERT_EQ(saved(again).size(), 5u);
  EXPECT_EQ(saved(again)[0].at("role").as_string(), "system");
  EXPECT_EQ(run_tern(chat_with({"--messages", path}), "/save " + again + "\n").status, 0);
  EXPECT_EQ(read_file(again), read_file(path));
}

TEST(Chat, CommandsDoWhatTheySay) {
  const TemporaryFolder folder;
  const auto path = folder.file("chat.json");
  const auto outcome = run_tern(kChat,
                                "/system Be brief.\nHello\n/regen\n/stats\n/think on\n/reset\n"
                                "/system\n/save " +
                                    path + "\n/exit\nnever read\n");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("Prompt: "), HasSubstr("Thinking is on."),
                                 HasSubstr("Conversation forgotten."), HasSubstr("Be brief."),
                                 HasSubstr("1 messages saved")));
  EXPECT_EQ(saved(path).size(), 1u);
}

TEST(Chat, SurvivesWrongCommandsAndRemembersThemInItsStatus) {
  const auto outcome = run_tern(kChat, "/rest\n/load /no/such/file\n/regen\nHello\n");
  EXPECT_EQ(outcome.status, 64);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("did you mean /reset?"), HasSubstr("/no/such/file")));
  EXPECT_THAT(outcome.out, Not(IsEmpty()));
}

TEST(Chat, AFirstPromptWithoutATerminalIsTheWholeChat) {
  const auto outcome = run_tern(chat_with({"-p", "Hello"}), "not a second turn\n");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST(Chat, CtrlCInAPipeStopsTheAnswerNotTheChat) {
  Process process(
      Invocation{.arguments = {"chat", "demo", "--show-thinking", "--ignore-eos", "-n", "60000"}});
  process.send("Count\n");
  ASSERT_TRUE(process.wait_for("<think>")) << process.errors();
  process.signal(SIGINT);
  ASSERT_TRUE(process.wait_for("[stopped]"));
  process.send_all("/stats\n");
  const auto outcome = process.finish();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("ended by cancelled"));
}

TEST(Chat, CtrlCWhileItWaitsForAPipeEndsIt) {
  Process process(Invocation{.arguments = kChat});
  process.send("/think off\n");
  ASSERT_TRUE(process.wait_for("Thinking is off."));
  ::usleep(200'000);
  process.signal(SIGINT);
  EXPECT_EQ(process.finish().status, 130);
}

class TerminalChat : public testing::Test {
 protected:
  /// Starts a chat on a terminal, with its state in a folder of the test.
  Process& start(std::vector<std::string> arguments) {
    process_.emplace(Invocation{.arguments = std::move(arguments),
                                .environment = {{"XDG_STATE_HOME", folder_.path()}}},
                     Process::Streams::terminal);
    return *process_;
  }

  TemporaryFolder folder_;
  std::optional<Process> process_;
};

TEST_F(TerminalChat, PromptsAnswersAndLeavesOnCtrlD) {
  auto& chat = start(kChat);
  ASSERT_TRUE(chat.wait_for(">>> ")) << chat.output();
  chat.send("Hello\r");
  ASSERT_TRUE(chat.wait_for(">>> ")) << chat.output();
  chat.send(kCtrlD);
  EXPECT_EQ(chat.finish().status, 0);
}

TEST_F(TerminalChat, CtrlDThatIsTypedDuringAnAnswerLeavesAfterIt) {
  auto& chat = start({"chat", "demo", "--ignore-eos", "-n", "50"});
  ASSERT_TRUE(chat.wait_for(">>> ")) << chat.output();
  chat.send("Count\r");
  ASSERT_TRUE(chat.wait_for("\x1b[2m")) << chat.output();
  chat.send(kCtrlD);
  EXPECT_EQ(chat.finish().status, 0);
}

TEST_F(TerminalChat, CtrlCRightAfterThePromptIsNotLost) {
  for (int round = 0; round < 5; ++round) {
    auto& chat = start(kChat);
    ASSERT_TRUE(chat.wait_for(">>> ")) << chat.output();
    chat.signal(SIGINT);
    ASSERT_TRUE(chat.wait_for("Ctrl-C again")) << chat.output();
    ASSERT_TRUE(chat.wait_for(">>> ")) << chat.output();
    chat.signal(SIGINT);
    EXPECT_EQ(chat.finish().status, 130);
  }
}

TEST_F(TerminalChat, FirstPromptIsAnsweredAndTheChatGoesOn) {
  auto& chat = start(chat_with({"-p", "Hello"}));
  ASSERT_TRUE(chat.wait_for(">>> Hello")) << chat.output();
  ASSERT_TRUE(chat.wait_for(">>> ")) << chat.output();
  chat.send("/exit\r");
  EXPECT_EQ(chat.finish().status, 0);
}

TEST_F(TerminalChat, HistoryIsKeptForTheNextOneAndPrivate) {
  start(kChat);
  ASSERT_TRUE(process_->wait_for(">>> "));
  process_->send("/think off\r");
  ASSERT_TRUE(process_->wait_for("Thinking is off."));
  ASSERT_TRUE(process_->wait_for(">>> "));
  process_->send(kCtrlD);
  process_->finish();
  const auto history = folder_.path() / "tern" / "chat_history";
  struct stat status{};
  ASSERT_EQ(::stat(history.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat((folder_.path() / "tern").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);

  auto& chat = start(kChat);
  ASSERT_TRUE(chat.wait_for(">>> "));
  chat.send("\x1b[A\r");  // arrow up, enter
  EXPECT_TRUE(chat.wait_for("Thinking is off.")) << chat.output();
  ASSERT_TRUE(chat.wait_for(">>> "));  // before it, Ctrl-D is not yet the editor's
  chat.send(kCtrlD);
  chat.finish();
}

TEST_F(TerminalChat, CtrlCStopsTheAnswerAndTwoAtThePromptLeave) {
  auto& chat = start({"chat", "demo", "--ignore-eos", "-n", "60000"});
  ASSERT_TRUE(chat.wait_for(">>> "));
  chat.send("Count\r");
  ASSERT_TRUE(chat.wait_for("\x1b[2m")) << chat.output();
  chat.send(kCtrlC);
  ASSERT_TRUE(chat.wait_for("[stopped]")) << chat.output();
  ASSERT_TRUE(chat.wait_for(">>> "));
  chat.send("some text");
  ASSERT_TRUE(chat.wait_for("some text"));
  chat.send(kCtrlC);  // drops the text
  ASSERT_TRUE(chat.wait_for(">>> "));
  chat.send(kCtrlC);
  ASSERT_TRUE(chat.wait_for("Ctrl-C again")) << chat.output();
  ASSERT_TRUE(chat.wait_for(">>> "));
  chat.send(kCtrlC);
  EXPECT_EQ(chat.finish().status, 130);
}

TEST_F(TerminalChat, ABlockOfLinesIsOneMessage) {
  const auto path = folder_.file("chat.json");
  auto& chat = start(kChat);
  ASSERT_TRUE(chat.wait_for(">>> "));
  chat.send("\"\"\"\r");
  ASSERT_TRUE(chat.wait_for("... "));
  chat.send("one \xc3\xa4\r");
  ASSERT_TRUE(chat.wait_for("... "));
  chat.send("two\"\"\"\r");
  ASSERT_TRUE(chat.wait_for(">>> "));
  chat.send("/save " + path + "\r");
  ASSERT_TRUE(chat.wait_for("messages saved")) << chat.output();
  ASSERT_TRUE(chat.wait_for(">>> "));
  chat.send(kCtrlD);
  chat.finish();
  EXPECT_EQ(saved(path)[0].at("content").as_string(), "one \xc3\xa4\ntwo");
}

TEST(TerminalGenerate, DimsThinkingUnlessColoursAreUnwanted) {
  const std::vector<std::string> arguments = {"generate", "demo", "-p", "Hello", "-n", "8"};
  const auto dimmed =
      Process(Invocation{.arguments = arguments}, Process::Streams::terminal).finish();
  EXPECT_THAT(dimmed.out, AllOf(HasSubstr("\x1b[2m"), HasSubstr("\x1b[0m")));
  for (const auto& plain : {std::map<std::string, std::string>{{"NO_COLOR", "1"}},
                            std::map<std::string, std::string>{{"TERM", "dumb"}}}) {
    const auto outcome = Process(Invocation{.arguments = arguments, .environment = plain},
                                 Process::Streams::terminal)
                             .finish();
    EXPECT_EQ(outcome.out.find('\x1b'), std::string::npos) << outcome.out;
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("<think>"), HasSubstr("</think>")));
  }
}

}  // namespace
}  // namespace tern::system
