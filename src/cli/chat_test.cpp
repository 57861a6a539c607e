// The parts of a chat that need no model: what was typed, and the conversation so far.
#include <gmock/gmock.h>

#include "cli/chat_input.h"
#include "cli/conversation.h"
#include "cli/generation_options.h"

namespace tern::cli {
namespace {

using testing::HasSubstr;

TEST(ChatCommand, IsASlashWithAName) {
  const auto command = parse_chat_command("/save  my file.json ");
  ASSERT_TRUE(command);
  EXPECT_EQ(command->name, "save");
  EXPECT_EQ(command->argument, "my file.json");
  EXPECT_EQ(parse_chat_command("  /help")->name, "help");
  EXPECT_FALSE(parse_chat_command("hello /help"));
  EXPECT_FALSE(parse_chat_command(""));
}

TEST(ChatCommand, TwoSlashesAreText) {
  EXPECT_FALSE(parse_chat_command("//etc/passwd"));
  EXPECT_EQ(MessageLines().add("//etc/passwd"), "/etc/passwd");
}

TEST(MessageLines, OneLineIsAMessage) {
  MessageLines lines;
  EXPECT_EQ(lines.add("hello\r"), "hello");
  EXPECT_FALSE(lines.open());
}

TEST(MessageLines, ABackslashGoesOn) {
  MessageLines lines;
  EXPECT_EQ(lines.add("one\\"), std::nullopt);
  EXPECT_TRUE(lines.open());
  EXPECT_EQ(lines.add("two"), "one\ntwo");
  EXPECT_EQ(lines.add("three"), "three");
}

TEST(MessageLines, QuotesHoldABlock) {
  MessageLines lines;
  EXPECT_EQ(lines.add("\"\"\""), std::nullopt);
  EXPECT_EQ(lines.add("/help is text here\\"), std::nullopt);
  EXPECT_EQ(lines.add(""), std::nullopt);
  EXPECT_EQ(lines.add("\"\"\""), "/help is text here\\\n");
  EXPECT_EQ(lines.add("\"\"\"all in one\"\"\""), "all in one");
  EXPECT_EQ(lines.add("\"\"\"first"), std::nullopt);
  EXPECT_EQ(lines.add("last\"\"\""), "first\nlast");
}

TEST(MessageLines, TheEndOfInputTakesWhatIsThere) {
  MessageLines lines;
  EXPECT_EQ(lines.add("one\\"), std::nullopt);
  EXPECT_EQ(lines.take(), "one\n");
  EXPECT_FALSE(lines.open());
}

TEST(Conversation, IsSavedAndLoadedUnchanged) {
  Conversation conversation;
  conversation.set_system("Be brief.");
  conversation.add_user("Hi \"there\"\n");
  conversation.add_assistant("Hello", "They greet me.");
  const auto text = conversation.to_json();
  const auto loaded = Conversation::from_json(text, "chat.json");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->to_json(), text);
  EXPECT_EQ(loaded->system(), "Be brief.");
  EXPECT_EQ(Conversation().to_json(), "[]\n");
}

TEST(Conversation, KeepsTheSystemMessageWhenTheRestIsForgotten) {
  Conversation conversation;
  conversation.add_user("Hi");
  conversation.set_system("one");
  conversation.set_system("two");
  conversation.clear();
  EXPECT_EQ(conversation.size(), 1u);
  EXPECT_EQ(conversation.system(), "two");
  conversation.set_system("");
  EXPECT_TRUE(conversation.empty());
}

TEST(Conversation, TakesBackTheLastAnswerToGiveAnother) {
  Conversation conversation;
  EXPECT_FALSE(conversation.drop_last_answer());
  conversation.add_user("Hi");
  conversation.add_assistant("Hello", "");
  EXPECT_TRUE(conversation.drop_last_answer());
  EXPECT_EQ(conversation.size(), 1u);
  EXPECT_TRUE(conversation.drop_last_answer());
}

TEST(Conversation, RefusesWhatAreNoMessages) {
  for (const char* text : {"{}", "[1]", "[{\"content\": \"x\"}]", "[{\"role\": 1}]", "", "[{]"}) {
    const auto loaded = Conversation::from_json(text, "chat.json");
    ASSERT_FALSE(loaded) << text;
    EXPECT_EQ(loaded.error().code, ErrorCode::corrupt);
    EXPECT_THAT(loaded.error().where, HasSubstr("chat.json"));
  }
}

TEST(LogitBias, IsAnIdAndAValue) {
  const auto bias = parse_logit_bias("1234=-5.5");
  ASSERT_TRUE(bias);
  EXPECT_EQ(bias->first, 1234u);
  EXPECT_EQ(bias->second, -5.5f);
  EXPECT_TRUE(parse_logit_bias("7:1"));
  for (const char* text : {"", "7", "7=", "=1", "-1=1", "4294967296=1", "7=nan", "7=101", "a=1"})
    EXPECT_FALSE(parse_logit_bias(text)) << text;
}

}  // namespace
}  // namespace tern::cli
