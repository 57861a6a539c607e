// Python literals as models write them where JSON was asked for: {'a': [1, True, None]}.
#pragma once
#include <optional>
#include <string_view>

#include "base/json.h"

namespace tern::text {

/// What ast.literal_eval makes of `text`, as JSON: tuples become arrays, keys that are not strings
/// become their text. Nothing for what is no literal, for bytes, sets, complex numbers, numbers
/// that do not fit, and nesting deeper than 64.
std::optional<json::value> parse_python_literal(std::string_view text);

}  // namespace tern::text
