// The built-in filters, tests, methods and global functions, by name; null for names that are none.
#pragma once
#include <algorithm>
#include <span>
#include <string_view>

#include "text/jinja_value.h"

namespace tern::text::jinja {

const Native* find_filter(std::string_view name);
const Native* find_test(std::string_view name);
const Native* find_global(std::string_view name);
/// A method of Python's type of `self`, without those that the sandbox hides.
const Native* find_method(const Value& self, std::string_view name);

const Native* find_string_method(std::string_view name);
const Native* find_cycler_method(std::string_view name);
const Native* find_text_filter(std::string_view name);
const Native* find_sequence_filter(std::string_view name);
const Native* find_select_filter(std::string_view name);
const Native* find_value_filter(std::string_view name);

inline const Native* find_native(std::span<const Native> natives, std::string_view name) {
  const auto at = std::ranges::find(natives, name, &Native::name);
  return at == natives.end() ? nullptr : &*at;
}

}  // namespace tern::text::jinja
