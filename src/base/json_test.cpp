#include "base/json.h"

#include <gtest/gtest.h>

#include <string>

namespace tern {
namespace {

using enum ErrorCode;

/// Why `text` is refused: "code: message", or "accepted".
std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  const auto value = parse_json(text, "a.json", limits);
  if (value) return "accepted";
  return std::string(name(value.error().code)) + ": " + value.error().message();
}

TEST(Json, ParsesOneValueWithWhiteSpaceAround) {
  EXPECT_EQ(parse_json(" \n\t{\"a\":[1,2.5,\"x\",null,true]}\r\n ", "t")->at("a").as_array().size(),
            5u);
  EXPECT_EQ(parse_json("7", "t")->as_int64(), 7);
}

TEST(Json, SaysWhereASyntaxErrorIs) {
  EXPECT_EQ(refusal("{\"a\": 1,\n \"b\" 2}").substr(0, 20), "corrupt: a.json:2:6:");
  EXPECT_NE(refusal("{\"a\": ").find("ends early"), std::string::npos);
  EXPECT_EQ(refusal("").substr(0, 20), "corrupt: a.json:1:1:");
  EXPECT_NE(refusal("{} {}").find("a.json:1:4: JSON: text after the value"), std::string::npos);
  EXPECT_NE(refusal(std::string("{}\0", 3)).find("after the value"), std::string::npos);
}

TEST(Json, RefusesWhatIsNoJson) {
  for (const char* text : {"{a:1}", "{'a':1}", "[1,]", "{\"a\":1,}", "[01]", "[+1]", "[.5]", "[1.]",
                           "[NaN]", "[Infinity]", "[0x1]", "// x\n[]", "/**/[]", "[\"\t\"]",
                           "[\"\\x\"]", "[\"\\ud800\"]", "nul", "\xef\xbb\xbf{}"})
    EXPECT_EQ(refusal(text).substr(0, 8), "corrupt:") << text;
}

TEST(Json, RefusesTextThatIsNotUtf8) {
  for (const std::string bad : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"})
    EXPECT_EQ(refusal("[\"" + bad + "\"]").substr(0, 8), "corrupt:");
  EXPECT_EQ(refusal("[\"\xe2\x82\xac\"]"), "accepted");
}

TEST(Json, RefusesDuplicateKeysInOneObjectOnly) {
  EXPECT_NE(refusal(R"({"a":1,"b":2,"a":3})").find("JSON: duplicate key \"a\""), std::string::npos);
  EXPECT_NE(refusal(R"([{"x":{"a":1,"\u0061":2}}])").find("duplicate"), std::string::npos);
  EXPECT_NE(refusal(R"({"":1,"":2})").find("duplicate key \"\""), std::string::npos);
  EXPECT_NE(refusal(R"({"\u001b[2J":1,"\u001b[2J":2})").find("\\x1b[2J"), std::string::npos)
      << "control characters are not echoed";
  EXPECT_EQ(refusal(R"({"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]})"), "accepted");
}

TEST(Json, LetsTheLastDuplicateWinWhenAskedTo) {
  const auto value = parse_json(R"({"a":1,"a":2})", "t", {.reject_duplicate_keys = false});
  ASSERT_TRUE(value);
  EXPECT_EQ(value->at("a").as_int64(), 2);
}

TEST(Json, KeepsTheOrderOfKeys) {
  const auto value = parse_json(R"({"z":1,"a":2,"m":3})", "t");
  std::string keys;
  for (const auto& [key, ignored] : value->as_object()) keys += key;
  EXPECT_EQ(keys, "zam");
}

TEST(Json, HoldsItsLimits) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(refusal(nested(64)), "accepted");
  EXPECT_EQ(refusal(nested(65)).substr(0, 10), "too_large:");
  EXPECT_EQ(refusal(nested(1'000'000)).substr(0, 10), "too_large:");
  EXPECT_EQ(refusal("[1,2]", {.bytes = 5}), "accepted");
  EXPECT_EQ(refusal("[1,2]", {.bytes = 4}).substr(0, 10), "too_large:");
  EXPECT_EQ(refusal(R"({"a":[1,"x"],"b":null})", {.values = 5}), "accepted");
  EXPECT_NE(refusal(R"({"a":[1,"x"],"b":null})", {.values = 4}).find("more than 4 values"),
            std::string::npos);
}

TEST(Json, ManyKeysThatAreNoDuplicatesAreAccepted) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += '"' + std::to_string(i) + "\":0,";
  EXPECT_EQ(refusal(text + "\"x\":0}"), "accepted");
}

class JsonAccess : public testing::Test {
 protected:
  json::object object_ = parse_json(R"({"zero":0,"minus":-1,"half":0.5,"big":18446744073709551615,
      "huge":18446744073709551616,"one":1.0,"text":"x","yes":true,"null":null})",
                                    "t")
                             ->as_object();
};

TEST_F(JsonAccess, UnsignedIntegersAreExactOrRefused) {
  EXPECT_EQ(get_uint(object_, "zero", "t"), 0u);
  EXPECT_EQ(get_uint(object_, "big", "t"), ~std::uint64_t{0});
  for (const char* key : {"minus", "half", "huge", "one", "text", "yes", "null"}) {
    const auto value = get_uint(object_, key, "t.json");
    ASSERT_FALSE(value) << key;
    EXPECT_EQ(value.error().code, corrupt);
    EXPECT_EQ(value.error().where, "t.json");
    EXPECT_NE(value.error().what.find(key), std::string::npos);
  }
  EXPECT_EQ(get_uint(object_, "absent", "t").error().code, not_found);
}

TEST_F(JsonAccess, OtherTypesAreCheckedToo) {
  EXPECT_EQ(get_number(object_, "half", "t"), 0.5);
  EXPECT_EQ(get_number(object_, "minus", "t"), -1);
  EXPECT_EQ(get_number(object_, "text", "t").error().code, corrupt);
  EXPECT_EQ(get_string(object_, "text", "t"), "x");
  EXPECT_EQ(get_string(object_, "zero", "t").error().code, corrupt);
  EXPECT_EQ(get_bool(object_, "yes", "t"), true);
  EXPECT_EQ(get_bool(object_, "zero", "t").error().code, corrupt);
  EXPECT_EQ(get_bool(object_, "absent", "t").error().code, not_found);
}

TEST_F(JsonAccess, DefaultsStandInForWhatIsAbsentOrNullButNotForAWrongType) {
  EXPECT_EQ(get_uint_or(object_, "absent", 7, "t"), 7u);
  EXPECT_EQ(get_uint_or(object_, "null", 7, "t"), 7u);
  EXPECT_EQ(get_uint_or(object_, "zero", 7, "t"), 0u);
  EXPECT_EQ(get_uint_or(object_, "text", 7, "t").error().code, corrupt);
  EXPECT_EQ(get_number_or(object_, "null", 1.5, "t"), 1.5);
  EXPECT_EQ(get_number_or(object_, "text", 1.5, "t").error().code, corrupt);
  EXPECT_EQ(get_bool_or(object_, "absent", true, "t"), true);
  EXPECT_EQ(get_bool_or(object_, "zero", true, "t").error().code, corrupt);
}

TEST(ParseJson, ReadsTheInfinityThatPythonWritesWhereThatIsAllowed) {
  const std::string_view text = R"({"a \"Infinity": [0.0, Infinity, -Infinity], "s": "Infinity"})";
  EXPECT_FALSE(parse_json(text, "t"));
  const auto value = parse_json(text, "t", {.allow_infinity = true});
  ASSERT_TRUE(value) << value.error().message();
  const json::object& object = value->as_object();
  EXPECT_EQ(object.at("a \"Infinity").as_array().at(1).as_double(), 1e300);
  EXPECT_EQ(object.at("a \"Infinity").as_array().at(2).as_double(), -1e300);
  EXPECT_EQ(object.at("s").as_string(), "Infinity");
  EXPECT_FALSE(parse_json("[Infinit]", "t", {.allow_infinity = true}));
}

}  // namespace
}  // namespace tern
