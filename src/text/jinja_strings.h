// Operations on whole texts that filters and methods share. All check the budget before they build.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "text/jinja_interpreter.h"

namespace tern::text::jinja {

/// `old` by `replacement`, at most `count` times (negative: all). An empty `old` is found between
/// all characters, as in Python.
Eval<Value> replace_text(Interpreter& in, std::string_view text, std::string_view old,
                         std::string_view replacement, std::int64_t count, bool markup);

Eval<Value> join_text(Interpreter& in, std::span<const std::string_view> parts,
                      std::string_view separator, bool markup);

/// `fill` so many times on the left and on the right.
Eval<Value> pad_text(Interpreter& in, std::string_view text, std::size_t left, std::size_t right,
                     std::string_view fill, bool markup);

Eval<Value> list_of(Interpreter& in, std::span<const std::string_view> parts, bool markup);

/// At most `most` splits. The pieces are views of `text`.
std::vector<std::string_view> split_space(std::string_view text, std::size_t most);
std::vector<std::string_view> rsplit_space(std::string_view text, std::size_t most);
std::vector<std::string_view> split_text(std::string_view text, std::string_view separator,
                                         std::size_t most);
std::vector<std::string_view> rsplit_text(std::string_view text, std::string_view separator,
                                          std::size_t most);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

/// str.casefold, as far as it differs from lower() for letters in use.
std::string casefold(std::string_view text);

}  // namespace tern::text::jinja
