#include "text/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/test_paths.h"

namespace tern::text {
namespace {

using testing::HasSubstr;

constexpr std::time_t kNow = 1'753'180'245;  // 2025-07-22 10:30:45 UTC, as in tests/golden/template

const std::filesystem::path kGolden =
    std::filesystem::path(source_dir()) / "tests" / "golden" / "template";
const std::filesystem::path kFamilyTemplate =
    std::filesystem::path(source_dir()) / ".." / "shared" / "spec" / "data" / "chat_template.jinja";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << "cannot open " << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

json::value parse(std::string_view text, std::string_view where) {
  auto value = parse_json(text, where, {.depth = 200, .reject_duplicate_keys = false});
  EXPECT_TRUE(value) << value.error().message();
  return value ? *value : json::value();
}

Result<std::string> render(std::string_view source, std::string_view variables = "{}",
                           const TemplateLimits& limits = {}) {
  auto chat_template = ChatTemplate::parse(source, "test.jinja", limits);
  if (!chat_template) return std::unexpected(chat_template.error());
  return chat_template->render(parse(variables, "variables").as_object(), kNow);
}

Error error_of(std::string_view source, std::string_view variables = "{}") {
  const auto text = render(source, variables);
  EXPECT_FALSE(text) << source << " gave " << *text;
  return text ? Error{} : text.error();
}

std::string fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  std::ostringstream hex;
  hex.fill('0');
  hex.width(16);
  hex << std::hex << hash;
  return hex.str();
}

class ChatTemplateTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("TZ", "UTC", 1);  // strftime_now shows local time
    tzset();
  }
};

TEST_F(ChatTemplateTest, RendersMessages) {
  const auto text = render(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m['content'] | trim }}<|im_end|>\n"
      "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
      R"({"messages": [{"role": "user", "content": " Hi "}], "add_generation_prompt": true})");
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_EQ(*text, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST_F(ChatTemplateTest, AgreesWithJinja2OnEveryExpression) {
  const json::value golden = parse(read(kGolden / "expressions.json"), "expressions.json");
  const json::object& variables = golden.at("variables").as_object();
  const json::array& cases = golden.at("cases").as_array();
  EXPECT_GE(cases.size(), 250u);
  for (const json::value& row : cases) {
    const std::string source(row.at(0).as_string());
    SCOPED_TRACE(source);
    auto chat_template = ChatTemplate::parse(source, "case");
    Result<std::string> text = chat_template
                                   ? chat_template->render(variables, kNow)
                                   : Result<std::string>(std::unexpected(chat_template.error()));
    if (row.at(1).is_null()) {
      EXPECT_FALSE(text) << "Jinja2 refuses it, here it gave " << *text;
    } else {
      ASSERT_TRUE(text) << text.error().message();
      EXPECT_EQ(*text, std::string(row.at(1).as_string()));
    }
  }
}

TEST_F(ChatTemplateTest, RendersEveryGoldenConversationAsJinja2Does) {
  std::map<std::string, ChatTemplate, std::less<>> templates;
  const auto add = [&](const std::string& name, const std::filesystem::path& path) {
    auto chat_template = ChatTemplate::parse(read(path), path.filename().string());
    ASSERT_TRUE(chat_template) << chat_template.error().message();
    templates.emplace(name, *chat_template);
  };
  ASSERT_TRUE(std::filesystem::exists(kFamilyTemplate)) << "missing " << kFamilyTemplate;
  add("family", kFamilyTemplate);
  for (const auto& file : std::filesystem::directory_iterator(kGolden / "templates")) {
    add(file.path().stem().string(), file.path());
  }
  EXPECT_EQ(templates.size(), 7u);

  std::istringstream lines(read(kGolden / "conversations.jsonl"));
  std::size_t conversations = 0;
  for (std::string line; std::getline(lines, line); ++conversations) {
    const json::value row = parse(line, "conversation");
    for (const auto& [name, hash] : row.at("hashes").as_object()) {
      SCOPED_TRACE(std::string(name) + ", conversation " + std::to_string(conversations));
      const auto text =
          templates.at(std::string(name)).render(row.at("variables").as_object(), kNow);
      if (hash.is_null()) {
        EXPECT_FALSE(text) << "Jinja2 refuses it";
      } else {
        ASSERT_TRUE(text) << text.error().message();
        EXPECT_EQ(fnv1a(*text), std::string(hash.as_string())) << *text;
      }
    }
  }
  EXPECT_GE(conversations, 300u);
}

TEST_F(ChatTemplateTest, ReproducesTheReadableSamples) {
  std::istringstream lines(read(kGolden / "conversations.jsonl"));
  const auto family = ChatTemplate::parse(read(kFamilyTemplate), "family");
  ASSERT_TRUE(family);
  std::string line;
  for (int index = 0; index <= 7 && std::getline(lines, line); ++index) {
    if (index != 0 && index != 7) continue;
    const json::value row = parse(line, "conversation");
    const auto text = family->render(row.at("variables").as_object(), kNow);
    ASSERT_TRUE(text);
    EXPECT_EQ(*text, read(kGolden / "samples" / (std::to_string(index) + ".family.txt")));
  }
}

TEST_F(ChatTemplateTest, IsSharedBetweenRenderings) {
  const auto chat_template = ChatTemplate::parse("{{ x }}{% set x = 5 %}{{ x }}", "t");
  ASSERT_TRUE(chat_template);
  for (const char* variables : {R"({"x": 1})", R"({"x": 2})"}) {
    const auto text = chat_template->render(parse(variables, "v").as_object());
    ASSERT_TRUE(text);
    EXPECT_EQ(text->substr(1), "5");
  }
}

TEST_F(ChatTemplateTest, KeepsIntegersAndFloatsOfJsonApart) {
  EXPECT_EQ(render("{{ a }} {{ b }} {{ c }} {{ d }}",
                   R"({"a": 1, "b": 1.0, "c": 18446744073709551615, "d": -0.0})"),
            "1 1.0 18446744073709551615 -0.0");
}

TEST_F(ChatTemplateTest, NamesTheLineOfAnError) {
  EXPECT_EQ(error_of("a\nb\n{% if %}").where, "test.jinja:3");
  EXPECT_EQ(error_of("a\nb\n\n{{ x.y }}").where, "test.jinja:4");
}

TEST_F(ChatTemplateTest, SaysWhatJinja2Says) {
  EXPECT_EQ(error_of("{{ x.y }}").what, "'x' is undefined");
  EXPECT_EQ(error_of("{{ x.y.z }}", R"({"x": {}})").what, "'dict object' has no attribute 'y'");
  EXPECT_EQ(error_of("{{ 1 + 'a' }}").what, "unsupported operand type(s) for +: 'int' and 'str'");
  EXPECT_EQ(error_of("{{ raise_exception('Roles must alternate') }}").what, "Roles must alternate");
}

TEST_F(ChatTemplateTest, TellsKindsOfErrorsApart) {
  EXPECT_EQ(error_of("{{ 1 ").code, ErrorCode::corrupt);
  EXPECT_EQ(error_of("\xff").code, ErrorCode::corrupt);
  EXPECT_EQ(error_of("{% include 'x' %}").code, ErrorCode::unsupported);
  EXPECT_EQ(error_of("{{ 1 | nope }}").code, ErrorCode::unsupported);
  EXPECT_EQ(error_of("{{ 1 is nope }}").code, ErrorCode::unsupported);
  EXPECT_EQ(error_of("{{ raise_exception('x') }}").code, ErrorCode::usage);
  EXPECT_EQ(error_of("{{ x.y }}").code, ErrorCode::usage);
  EXPECT_EQ(error_of("{{ range(10 ** 9) }}").code, ErrorCode::too_large);
}

TEST_F(ChatTemplateTest, HonoursEachLimit) {
  EXPECT_EQ(render("0123456789", "{}", {.source_bytes = 9}).error().code, ErrorCode::too_large);
  const auto steps = render("{% for i in range(1000) %}{{ i }}{% endfor %}", "{}", {.steps = 100});
  ASSERT_FALSE(steps);
  EXPECT_THAT(steps.error().what, HasSubstr("100 steps"));
  const auto output =
      render("{% for i in range(1000) %}{{ i }}{% endfor %}", "{}", {.output_bytes = 100});
  ASSERT_FALSE(output);
  EXPECT_THAT(output.error().what, HasSubstr("100 bytes"));
  const auto depth = render("{{ ((((1)))) }}", "{}", {.depth = 3});
  ASSERT_FALSE(depth);
  EXPECT_THAT(depth.error().what, HasSubstr("3 levels"));
  EXPECT_TRUE(render("{{ ((((1)))) }}", "{}", {.depth = 10}));
}

TEST_F(ChatTemplateTest, LeavesAMegabyteOfTextRoomInTheDefaultLimits) {
  json::object variables;
  json::array messages;
  for (int i = 0; i < 200; ++i) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"},
                        {"content", std::string(5000, i % 3 == 0 ? 'x' : '\n') + "\xc3\xa9"}});
  }
  variables["messages"] = messages;
  const auto family = ChatTemplate::parse(read(kFamilyTemplate), "family");
  ASSERT_TRUE(family);
  const auto text = family->render(variables);
  ASSERT_TRUE(text) << text.error().message();
}

}  // namespace
}  // namespace tern::text
