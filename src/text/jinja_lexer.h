// Template source to tokens, with Jinja2's white-space rules (trim_blocks, lstrip_blocks).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace tern::text::jinja {

enum class TokenKind : std::uint8_t {
  data,
  block_begin,
  block_end,
  variable_begin,
  variable_end,
  name,
  string,  ///< `text` is the value, escapes resolved
  integer,
  real,
  op,
  end,
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string_view text;
  std::uint32_t line = 1;
};

/// The source as Jinja2 reads it: "\n" line ends, without the last one.
std::string normalize_newlines(std::string_view source);

/// Tokens of normalized `source`, which must outlive them; `arena` holds unescaped strings.
/// The last one is `end`.
/// @error corrupt  with "`where`:line".
Result<std::vector<Token>> tokenize(std::string_view source, Arena& arena, std::string_view where);

}  // namespace tern::text::jinja
