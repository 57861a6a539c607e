// How values look: repr() of strings, and JSON as Python's json.dumps writes it.
#pragma once
#include <string>
#include <string_view>

#include "text/jinja_interpreter.h"

namespace tern::text::jinja {

/// repr() of a str: quotes and escapes as Python chooses them.
std::string quote(std::string_view text);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool pretty = false;      ///< an indent was given, if only the empty one
  std::string indent = {};  ///< of one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

Eval<std::string> to_json(Interpreter& in, const Value& value, const JsonStyle& style);

}  // namespace tern::text::jinja
