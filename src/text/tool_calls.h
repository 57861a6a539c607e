// Tool calls in the model's answer, in the form that vLLM calls qwen3_coder:
//
//   <tool_call>
//   <function=NAME>
//   <parameter=KEY>
//   VALUE
//   </parameter>
//   </function>
//   </tool_call>
//
// Source: the model's chat template; vLLM, qwen3coder_tool_parser.py, for the conversion of values.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace tern::text {

struct ToolCall {
  std::string name;
  json::object arguments;  ///< in the order in which the model wrote them
  bool operator==(const ToolCall&) const = default;
};

/// Converts the text of one argument by its JSON schema (null or no object: unknown, a string).
///
/// "null" in any case is null. string and enum: verbatim. integer: an integer if it is one.
/// number: a number, an integer when it has no fraction. boolean: whether it says "true". object,
/// array and types not known here: JSON, else a Python literal. Whatever does not convert stays a
/// string.
json::value convert_argument(std::string_view text, const json::value& schema);

/// Takes the answer apart while it comes.
class ToolCallParser {
 public:
  struct Output {
    std::string content;  ///< ordinary text
    std::vector<ToolCall> calls;
  };

  /// @param tools  the request's tools: [{"type": "function", "function": {name, parameters}}, ...]
  ///               or bare functions; kept by reference, may be null. Entries of other shapes are
  ///               passed over.
  explicit ToolCallParser(const json::array* tools = nullptr) : tools_(tools) {}

  /// Text that could be the beginning of a tag waits; a call is given when its </tool_call> has
  /// come. White space after a call is dropped. A <tool_call> without <function=NAME> is text.
  /// @cost O(text) over all calls
  Output push(std::string_view text);

  /// The end. A call that was not closed counts if it has a function.
  Output finish();

  /// Whether a <tool_call> is open.
  bool inside() const { return inside_; }

 private:
  std::string_view outside_text(std::string_view text, bool last, Output& out);
  void close_call(std::string_view block, bool closed, Output& out);
  void show(std::string_view text, Output& out);

  const json::array* tools_;
  std::string pending_;
  std::size_t searched_ = 0;  ///< bytes of pending_ known to hold no </tool_call>
  bool inside_ = false;
  bool after_call_ = false;
};

/// The whole of an answer at once.
ToolCallParser::Output parse_tool_calls(std::string_view answer,
                                        const json::array* tools = nullptr);

}  // namespace tern::text
