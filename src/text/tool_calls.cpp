#include "text/tool_calls.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/python_literal.h"
#include "text/reasoning.h"

namespace tern::text {
namespace {

constexpr std::string_view kFunction = "<function=";
constexpr std::string_view kFunctionEnd = "</function>";
constexpr std::string_view kParameter = "<parameter=";
constexpr std::string_view kParameterEnd = "</parameter>";
constexpr std::string_view kSpaces = " \t\r\n\f\v";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

const json::value* member(const json::value* value, std::string_view key) {
  return value != nullptr && value->is_object() ? value->get_object().if_contains(key) : nullptr;
}

std::string_view string_or_empty(const json::value* value) {
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

/// The first type of a schema that is not "null": "type" may be a list, or stand in anyOf.
std::string type_of(const json::value& schema) {
  const json::value* type = member(&schema, "type");
  if (type != nullptr && type->is_array()) {
    for (const json::value& each : type->get_array())
      if (string_or_empty(&each) != "null") return lower(trimmed(string_or_empty(&each)));
    return "string";
  }
  if (type != nullptr) return lower(trimmed(string_or_empty(type)));
  for (const std::string_view key : {"anyOf", "oneOf"}) {
    const json::value* choices = member(&schema, key);
    if (choices == nullptr || !choices->is_array()) continue;
    for (const json::value& choice : choices->get_array()) {
      const std::string_view each = string_or_empty(member(&choice, "type"));
      if (!each.empty() && each != "null") return lower(trimmed(each));
    }
  }
  return "string";
}

/// int(text) of Python, where it fits; else nothing.
std::optional<json::value> to_integer(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  std::int64_t integer = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, integer);
  if (error != std::errc() || end != last) return std::nullopt;
  return json::value(integer);
}

std::optional<json::value> to_number(std::string_view text) {
  if (auto integer = to_integer(text)) return integer;
  text = trimmed(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  double real = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, real);
  if (error != std::errc() || end != last || !std::isfinite(real)) return std::nullopt;
  constexpr double kExact = 9007199254740992.0;  // 2^53: beyond, a double is no exact integer
  if (real == std::trunc(real) && std::abs(real) <= kExact)
    return json::value(static_cast<std::int64_t>(real));
  return json::value(real);
}

std::optional<json::value> to_structure(std::string_view text) {
  JsonLimits limits;
  limits.reject_duplicate_keys = false;
  if (auto parsed = parse_json(text, "tool argument", limits)) return *std::move(parsed);
  return parse_python_literal(text);
}

/// The properties of the named function, or null.
const json::value* properties(const json::array* tools, std::string_view name) {
  if (tools == nullptr) return nullptr;
  for (const json::value& tool : *tools) {
    const json::value* function = member(&tool, "function");
    if (function == nullptr) function = &tool;
    if (string_or_empty(member(function, "name")) == name)
      return member(member(function, "parameters"), "properties");
  }
  return nullptr;
}

/// The values of a function, which reach from <parameter=KEY> to the first of </parameter>, the
/// next <parameter= and the end.
json::object parameters(std::string_view body, const json::value* schemas) {
  json::object arguments;
  for (std::size_t at = body.find(kParameter); at != std::string_view::npos;
       at = body.find(kParameter, at)) {
    at += kParameter.size();
    const std::size_t name_end = body.find('>', at);
    if (name_end == std::string_view::npos) break;
    const std::string_view name = trimmed(body.substr(at, name_end - at));
    const std::string_view rest = body.substr(name_end + 1);
    const std::string_view until_next = rest.substr(0, rest.find(kParameter));
    const std::size_t end = std::min(until_next.find(kParameterEnd), until_next.size());
    std::string_view value = rest.substr(0, end);
    if (value.starts_with('\n')) value.remove_prefix(1);
    if (value.ends_with('\n')) value.remove_suffix(1);
    const json::value* schema = member(schemas, name);
    arguments[name] = convert_argument(value, schema == nullptr ? json::value() : *schema);
    at = name_end + 1 + end;
  }
  return arguments;
}

}  // namespace

json::value convert_argument(std::string_view text, const json::value& schema) {
  const json::value verbatim(json::string_view(text.data(), text.size()));
  if (lower(text) == "null") return nullptr;
  if (!schema.is_object()) return verbatim;
  const std::string type = type_of(schema);
  const auto is = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, type) != names.end();
  };
  const auto begins = [&](std::initializer_list<std::string_view> prefixes) {
    return std::ranges::any_of(prefixes, [&](auto prefix) { return type.starts_with(prefix); });
  };
  if (is({"string", "str", "text", "varchar", "char", "enum"})) return verbatim;
  if (begins({"int", "uint", "long", "short", "unsigned"}))
    return to_integer(text).value_or(verbatim);
  if (begins({"num", "float"})) return to_number(text).value_or(verbatim);
  if (is({"boolean", "bool", "binary"})) return lower(text) == "true";
  return to_structure(text).value_or(verbatim);
}

void ToolCallParser::show(std::string_view text, Output& out) {
  if (after_call_) {
    const std::size_t begin = text.find_first_not_of(kSpaces);
    if (begin == std::string_view::npos) return;
    text.remove_prefix(begin);
    after_call_ = false;
  }
  out.content.append(text);
}

void ToolCallParser::close_call(std::string_view block, bool closed, Output& out) {
  const std::size_t calls_before = out.calls.size();
  for (std::size_t at = block.find(kFunction); at != std::string_view::npos;) {
    at += kFunction.size();
    const std::size_t next = std::min(block.find(kFunction, at), block.size());
    std::string_view function = block.substr(at, next - at);
    function = function.substr(0, function.find(kFunctionEnd));
    const std::size_t name_end = function.find('>');
    const std::string_view name = trimmed(function.substr(0, name_end));
    if (name_end != std::string_view::npos && !name.empty())
      out.calls.push_back(
          {std::string(name), parameters(function.substr(name_end + 1), properties(tools_, name))});
    at = next == block.size() ? std::string_view::npos : next;
  }
  if (out.calls.size() > calls_before) {
    after_call_ = true;
    return;
  }
  show(kToolCallBegin, out);
  show(block, out);
  if (closed) show(kToolCallEnd, out);
}

/// Shows text up to a tag, or up to what may become one; returns what is left.
std::string_view ToolCallParser::outside_text(std::string_view text, bool last, Output& out) {
  const std::size_t tag = text.find(kToolCallBegin);
  inside_ = tag != std::string_view::npos;
  std::size_t end = inside_ ? tag : text.size();
  std::size_t held = inside_ || last ? 0 : std::min(kToolCallBegin.size() - 1, text.size());
  while (!text.ends_with(kToolCallBegin.substr(0, held))) --held;
  end -= held;
  show(text.substr(0, end), out);
  return text.substr(end + (inside_ ? kToolCallBegin.size() : 0));
}

ToolCallParser::Output ToolCallParser::push(std::string_view text) {
  Output out;
  pending_.append(text);
  std::string_view rest = pending_;
  for (;;) {
    if (!inside_) rest = outside_text(rest, false, out);
    if (!inside_) break;
    const std::size_t end = rest.find(kToolCallEnd, searched_);
    if (end == std::string_view::npos) {
      searched_ = rest.size() - std::min(rest.size(), kToolCallEnd.size() - 1);
      break;
    }
    close_call(rest.substr(0, end), true, out);
    rest.remove_prefix(end + kToolCallEnd.size());
    searched_ = 0;
    inside_ = false;
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

ToolCallParser::Output ToolCallParser::finish() {
  Output out;
  if (inside_)
    close_call(pending_, false, out);
  else
    outside_text(pending_, true, out);
  pending_.clear();
  searched_ = 0;
  inside_ = false;
  return out;
}

ToolCallParser::Output parse_tool_calls(std::string_view answer, const json::array* tools) {
  ToolCallParser parser(tools);
  ToolCallParser::Output out = parser.push(answer);
  ToolCallParser::Output rest = parser.finish();
  out.content += rest.content;
  std::ranges::move(rest.calls, std::back_inserter(out.calls));
  return out;
}

}  // namespace tern::text
