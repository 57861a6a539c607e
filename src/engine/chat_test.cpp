#include "engine/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/testing.h"

namespace tern::engine {
namespace {

using testing::Files;
using ::testing::HasSubstr;

text::Tokenizer tokenizer() {
  static const std::string source = testing::demo_files().at("tokenizer.json");
  return text::Tokenizer::from_json(source, "tokenizer.json").value();
}

/// The chat of a model directory whose files are the demo's, changed by `change`.
struct Fixture {
  explicit Fixture(const Files& changed)
      : files(changed),
        opened(testing::checkpoint(files).value()),
        chat(Chat::load(opened, tokenizer())) {}

  Files files;
  formats::Checkpoint opened;
  Result<Chat> chat;
};

Files without_template() {
  Files files = testing::demo_files();
  files.erase("chat_template.jinja");
  return files;
}

Files with_template(std::string source) {
  Files files = testing::demo_files();
  files["chat_template.jinja"] = std::move(source);
  return files;
}

json::array hello() {
  return {{{"role", "user"}, {"content", "Hello"}}};
}

std::string error_of(const Result<std::string>& result) {
  return result ? "rendered: " + *result : result.error().message();
}

TEST(Chat, RendersTheFamilysPromptWithAndWithoutThinking) {
  const Fixture demo(testing::demo_files());
  const std::vector<Message> messages = {{.role = "user", .content = "Hello"}};
  EXPECT_EQ(demo.chat->render(messages, {}),
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
            "<|im_start|>assistant\n<think>\n");
  EXPECT_EQ(demo.chat->render(messages, {.enable_thinking = false}),
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
            "<|im_start|>assistant\n<think></think>");
}

TEST(Chat, GivesReasoningToTheTemplateOnlyWhenThereIsSome) {
  const Fixture variant(
      with_template("{% for m in messages %}{{ m.content }}{% if m.reasoning_content is defined %}"
                    "[{{ m.reasoning_content }}]{% endif %}{% endfor %}"));
  const std::vector<Message> messages = {
      {.role = "assistant", .content = "a", .reasoning_content = "r"},
      {.role = "assistant", .content = "b"}};
  EXPECT_EQ(variant.chat->render(messages, {}), "a[r]b");
}

TEST(Chat, GivesTheVariablesThatTransformersGives) {
  Files files = with_template(
      "{{ bos_token }} {{ eos_token }} {{ tools is none }} {{ documents is none }} "
      "{{ add_generation_prompt }} {{ enable_thinking }}");
  files["tokenizer_config.json"] = R"({"bos_token": "<s>", "eos_token": {"content": "<e>"}})";
  const Fixture variant(files);
  EXPECT_EQ(variant.chat->render(hello(), {}), "<s> <e> True True True True");
  EXPECT_EQ(variant.chat->render(hello(), {.add_generation_prompt = false}),
            "<s> <e> True True False True");
}

TEST(Chat, FurtherVariablesOverrideAndMustBeAnObject) {
  const Fixture variant(with_template("{{ enable_thinking }} {{ reasoning_budget }}"));
  EXPECT_EQ(
      variant.chat->render(
          hello(), {.variables_json = R"({"reasoning_budget": 7, "enable_thinking": false})"}),
      "False 7");
  EXPECT_THAT(error_of(variant.chat->render(hello(), {.variables_json = "[1]"})),
              HasSubstr("variables_json: template variables must be a JSON object"));
  EXPECT_THAT(error_of(variant.chat->render(hello(), {.variables_json = "{"})),
              HasSubstr("variables_json"));
}

TEST(Chat, ToolsReachTheTemplateAsAnArray) {
  const Fixture variant(
      with_template("{{ tools is none }}{% for t in tools or [] %} "
                    "{{ t.function.name }}{% endfor %}"));
  EXPECT_EQ(variant.chat->render(hello(), {.tools_json = R"([{"function": {"name": "add"}}])"}),
            "False add");
  EXPECT_EQ(variant.chat->render(hello(), {.tools_json = "[]"}), "True");
  EXPECT_THAT(error_of(variant.chat->render(hello(), {.tools_json = "{}"})),
              HasSubstr("tools_json: tools must be a JSON array"));
}

TEST(Chat, FindsATemplateInTheTokenizerConfiguration) {
  Files files = without_template();
  files["tokenizer_config.json"] = R"({"chat_template": "one {{ messages[0].content }}"})";
  EXPECT_EQ(Fixture(files).chat->render(hello(), {}), "one Hello");

  files["tokenizer_config.json"] =
      R"({"chat_template": [{"name": "tool_use", "template": "with tools"},
                            {"name": "default", "template": "without"}]})";
  const Fixture named(files);
  EXPECT_EQ(named.chat->render(hello(), {}), "without");
  EXPECT_EQ(named.chat->render(hello(), {.tools_json = "[1]"}), "with tools");
}

TEST(Chat, AModelWithoutATemplateSaysSoWhenOneIsAskedFor) {
  const Fixture variant(without_template());
  ASSERT_TRUE(variant.chat);
  const auto result = variant.chat->render(hello(), {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::not_found);
  EXPECT_THAT(result.error().message(), HasSubstr("chat_template.jinja"));
}

TEST(Chat, ABrokenTemplateIsReportedWithItsFileWhenItIsAskedFor) {
  const Fixture variant(with_template("{% if %}"));
  ASSERT_TRUE(variant.chat);
  EXPECT_THAT(error_of(variant.chat->render(hello(), {})),
              HasSubstr("variant/chat_template.jinja"));
}

TEST(Chat, ABrokenTokenizerConfigurationIsReportedAtLoad) {
  Files files = testing::demo_files();
  files["tokenizer_config.json"] = "{\"chat_template\": ";
  const Fixture variant(files);
  ASSERT_FALSE(variant.chat);
  EXPECT_EQ(variant.chat.error().code, ErrorCode::corrupt);
  EXPECT_THAT(variant.chat.error().where, HasSubstr("tokenizer_config.json"));
}

TEST(Chat, MessagesOfAnotherShapeAreNamedByTheirPlace) {
  const Fixture demo(testing::demo_files());
  const auto error = [&](std::string_view messages) {
    return error_of(demo.chat->render(parse_json(messages, "test")->as_array(), {}));
  };
  EXPECT_THAT(error("[]"), HasSubstr("there are no messages"));
  EXPECT_THAT(error(R"(["hello"])"), HasSubstr("messages/0: a message must be an object"));
  EXPECT_THAT(error(R"([{"role": "user", "content": ""}, {"content": "x"}])"),
              HasSubstr("messages/1/role: a message needs a role"));
  EXPECT_THAT(error(R"([{"role": "", "content": "x"}])"), HasSubstr("messages/0/role"));
  EXPECT_THAT(error(R"([{"role": "assistant", "tool_calls": 5}])"),
              HasSubstr("messages/0/tool_calls: tool_calls must be an array"));
  EXPECT_THAT(error(R"([{"role": "assistant", "tool_calls": [5]}])"),
              HasSubstr("messages/0/tool_calls/0"));
  EXPECT_THAT(error(R"([{"role": "assistant", "tool_calls": [{"function":
                       {"name": "f", "arguments": "{"}}]}])"),
              HasSubstr("messages/0/tool_calls/0/function/arguments"));
  EXPECT_THAT(error(R"([{"role": "assistant", "tool_calls": [{"function":
                       {"name": "f", "arguments": "[]"}}]}])"),
              HasSubstr("arguments must be a JSON object"));
}

TEST(Chat, MessagesMayBeJsonText) {
  const Fixture demo(testing::demo_files());
  EXPECT_EQ(demo.chat->render_json(R"([{"role": "user", "content": "Hello"}])", {}),
            *demo.chat->render(hello(), {}));
  EXPECT_THAT(error_of(demo.chat->render_json("{}", {})), HasSubstr("must be a JSON array"));
  EXPECT_THAT(error_of(demo.chat->render_json("[", {})), HasSubstr("messages"));
}

TEST(Chat, ArgumentsOfToolCallsMayBeJsonTexts) {
  const Fixture demo(testing::demo_files());
  const auto messages = [](std::string_view arguments) {
    return parse_json(R"([{"role": "user", "content": "?"}, {"role": "assistant", "content": null,
                          "tool_calls": [{"function": {"name": "f", "arguments": )" +
                          std::string(arguments) + "}}]}]",
                      "test")
        ->as_array();
  };
  const auto from_object = demo.chat->render(messages(R"({"x": 1})"), {});
  ASSERT_TRUE(from_object) << from_object.error().message();
  EXPECT_THAT(*from_object, HasSubstr("<parameter=x>\n1\n</parameter>"));
  EXPECT_EQ(demo.chat->render(messages(R"("{\"x\": 1}")"), {}), *from_object);
  EXPECT_TRUE(demo.chat->render(messages(R"("")"), {}));
}

TEST(Chat, ListsOfTextPartsAreJoinedWhereTemplatesExpectAText) {
  const Fixture demo(testing::demo_files());
  const auto prompt = demo.chat->render(
      parse_json(R"([{"role": "system", "content": [{"type": "text", "text": "Be "},
                                                    {"type": "text", "text": "brief."}]},
                     {"role": "user", "content": [{"type": "text", "text": "Hi"}]}])",
                 "test")
          ->as_array(),
      {});
  ASSERT_TRUE(prompt) << prompt.error().message();
  EXPECT_THAT(*prompt, HasSubstr("<|im_start|>system\nBe brief.<|im_end|>"));
  EXPECT_THAT(*prompt, HasSubstr("<|im_start|>user\nHi<|im_end|>"));
}

}  // namespace
}  // namespace tern::engine
