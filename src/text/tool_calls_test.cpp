#include "text/tool_calls.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <chrono>

#include "text/python_literal.h"

namespace tern::text {
namespace {

json::value schema(std::string_view type) {
  return {{"type", json::string_view(type)}};
}

std::string converted(std::string_view text, const json::value& by) {
  return json::serialize(convert_argument(text, by));
}

const json::array& tools() {
  static const json::array known = json::parse(R"([
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
      "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
                     "options": {"type": "object"}}}}},
    {"name": "bare", "parameters": {"properties": {"x": {"type": "number"}}}}])")
                                       .as_array();
  return known;
}

constexpr std::string_view kCall =
    "<tool_call>\n<function=weather>\n<parameter=city>\nNew\nYork\n</parameter>\n"
    "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>";

TEST(ToolCalls, AreTakenOutOfTheAnswerWithTypedArguments) {
  const auto out = parse_tool_calls("I look.\n" + std::string(kCall), &tools());
  EXPECT_EQ(out.content, "I look.\n");
  ASSERT_EQ(out.calls.size(), 1u);
  EXPECT_EQ(out.calls[0].name, "weather");
  EXPECT_EQ(json::serialize(out.calls[0].arguments), R"({"city":"New\nYork","days":3})");
}

TEST(ToolCalls, MayFollowEachOtherAndLoseTheSpaceBetweenThem) {
  const std::string call(kCall);
  const auto out = parse_tool_calls(call + "\n" + call + "\n done", &tools());
  EXPECT_EQ(out.calls.size(), 2u);
  EXPECT_EQ(out.content, "done");
}

TEST(ToolCalls, WithoutSchemaHaveStringArguments) {
  const auto out = parse_tool_calls(kCall);
  EXPECT_EQ(json::serialize(out.calls.at(0).arguments), R"({"city":"New\nYork","days":"3"})");
}

TEST(ToolCalls, KnowFunctionsWithoutTheirWrapper) {
  const auto out = parse_tool_calls(
      "<tool_call><function=bare><parameter=x>2.0</parameter></function></tool_call>", &tools());
  EXPECT_EQ(json::serialize(out.calls.at(0).arguments), R"({"x":2})");
}

TEST(ToolCalls, AreUnderstoodWithClosingTagsMissing) {
  const std::vector<std::string> answers = {
      "<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n<parameter=days>\n3\n"
      "</function>\n</tool_call>",
      "<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n</parameter>\n"
      "<parameter=days>\n3\n</tool_call>",
      "<tool_call>\n<function=weather>\n<parameter=city>\nBonn\n</parameter>\n"
      "<parameter=days>\n3\n</parameter>\n</function>",
      "<tool_call><function=weather><parameter=city>Bonn<parameter=days>3"};
  for (const auto& answer : answers) {
    const auto out = parse_tool_calls(answer, &tools());
    ASSERT_EQ(out.calls.size(), 1u) << answer;
    EXPECT_EQ(json::serialize(out.calls[0].arguments), R"({"city":"Bonn","days":3})") << answer;
    EXPECT_EQ(out.content, "") << answer;
  }
}

TEST(ToolCalls, SeveralFunctionsInOneCallAreSeveralCalls) {
  const auto out =
      parse_tool_calls("<tool_call><function=a></function><function=b></function></tool_call>");
  ASSERT_EQ(out.calls.size(), 2u);
  EXPECT_EQ(out.calls[1].name, "b");
}

TEST(ToolCalls, WithoutAFunctionAreText) {
  for (const std::string answer : {"<tool_call>oops</tool_call>", "a <tool_call> b", "<tool_call>",
                                   "<tool_call><function=", "<tool_call><function=>x</tool_call>"})
    EXPECT_EQ(parse_tool_calls(answer).content, answer);
}

TEST(ToolCalls, LoseOneNewlineOnEachSideOfAValue) {
  const auto out = parse_tool_calls(
      "<tool_call><function=f><parameter=a>\n\n x \n\n</parameter></function></tool_call>");
  EXPECT_EQ(out.calls.at(0).arguments.at("a").as_string(), "\n x \n");
}

TEST(ToolCallArguments, FollowTheTypeOfTheirSchema) {
  EXPECT_EQ(converted("12", schema("string")), R"("12")");
  EXPECT_EQ(converted(" 12 ", schema("integer")), "12");
  EXPECT_EQ(converted("+12", schema("int32")), "12");
  EXPECT_EQ(converted("twelve", schema("integer")), R"("twelve")");
  EXPECT_EQ(converted("99999999999999999999", schema("integer")), R"("99999999999999999999")");
  EXPECT_EQ(converted("1.50", schema("number")), "1.5E0");
  EXPECT_EQ(converted("-3.0", schema("number")), "-3");
  EXPECT_EQ(converted("nan", schema("number")), R"("nan")");
  EXPECT_EQ(converted("True", schema("boolean")), "true");
  EXPECT_EQ(converted("yes", schema("boolean")), "false");
  EXPECT_EQ(converted(R"({"a": [1]})", schema("object")), R"({"a":[1]})");
  EXPECT_EQ(converted("{'a': (1, None,)}", schema("object")), R"({"a":[1,null]})");
  EXPECT_EQ(converted("[1, 2", schema("array")), R"("[1, 2")");
  EXPECT_EQ(converted("3", schema("whatever")), "3");
  EXPECT_EQ(converted("NULL", schema("string")), "null");
  EXPECT_EQ(converted("x", json::value()), R"("x")");
  EXPECT_EQ(converted("5", json::parse(R"({"type": ["null", "integer"]})")), "5");
  EXPECT_EQ(converted("5", json::parse(R"({"anyOf": [{"type": "null"}, {"type": "integer"}]})")),
            "5");
  EXPECT_EQ(converted("5", json::parse(R"({"enum": ["5"]})")), R"("5")");
}

TEST(PythonLiteral, ReadsWhatLiteralEvalReads) {
  const auto read = [](std::string_view text) {
    const auto value = parse_python_literal(text);
    return value ? json::serialize(*value) : "nothing";
  };
  EXPECT_EQ(read(R"( [1, -2, 'a', "b\n", True, None, 'it\'s'] )"),
            R"([1,-2,"a","b\n",true,null,"it's"])");
  EXPECT_EQ(read("(1)"), "1");
  EXPECT_EQ(read("(1,)"), "[1]");
  EXPECT_EQ(read("()"), "[]");
  EXPECT_EQ(read("{1: 'x', 'k': {}}"), R"({"1":"x","k":{}})");
  EXPECT_EQ(read("'a' 'b'"), R"("ab")");
  EXPECT_EQ(read(R"('\x41\u00e9\U0001F600')"), R"("A)"
                                               "\xC3\xA9\xF0\x9F\x98\x80\"");
  for (const std::string_view text :
       {"", "x", "[1", "[1 2]", "{1}", "'a", "1 2", "b'x'", "1+2j", "{[]: 1}", "'\\x4'", "--1"})
    EXPECT_EQ(read(text), "nothing") << text;
  EXPECT_EQ(read(std::string(100'000, '[')), "nothing");
}

TEST(ToolCalls, TakeLinearTimeOnAHostileAnswer) {
  const auto start = std::chrono::steady_clock::now();
  std::string answer = "<tool_call><function=f>";
  for (int i = 0; i < 100'000; ++i) answer += "<parameter=a>";
  parse_tool_calls(answer);
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += "<tool_call><function=f></tool_call>";
  EXPECT_EQ(parse_tool_calls(many).calls.size(), 20'000u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

RC_GTEST_PROP(ToolCalls, DoNotDependOnHowTheAnswerIsCut, ()) {
  const auto words = *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
      "<tool_call>", "</tool_call>", "<function=f>", "</function>", "<parameter=a>", "\n", " x",
      "</parameter>", "<tool", "_call>", "<"));
  std::string whole;
  for (const auto& word : words) whole += word;
  const auto once = parse_tool_calls(whole);
  ToolCallParser parser;
  ToolCallParser::Output out;
  const auto take = [&](ToolCallParser::Output part) {
    out.content += part.content;
    for (auto& call : part.calls) out.calls.push_back(std::move(call));
  };
  for (const char c : whole) take(parser.push(std::string_view(&c, 1)));
  take(parser.finish());
  RC_ASSERT(out.content == once.content);
  RC_ASSERT(out.calls == once.calls);
}

}  // namespace
}  // namespace tern::text
