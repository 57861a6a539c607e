// Text as Python's str sees it: code points, white space, case, classes of characters.
#pragma once
#include <string>
#include <string_view>

namespace tern::text::jinja {

/// Code points of UTF-8 text. Bytes that are no UTF-8 count as one each.
std::size_t count_code_points(std::string_view text);
bool valid_utf8(std::string_view text);

/// The code point at `position`, which moves behind it. A byte that begins none gives 0xDC00 + byte
/// (as Python's surrogateescape), which append_utf8 turns back into that byte.
char32_t decode(std::string_view text, std::size_t& position);
/// The code point that ends at `position`, which moves before it.
char32_t decode_back(std::string_view text, std::size_t& position);
void append_utf8(std::string& text, char32_t c);
std::u32string to_code_points(std::string_view text);

bool is_space(char32_t c);       ///< str.isspace, and what strip() removes
bool is_line_break(char32_t c);  ///< what splitlines() splits at
bool is_alpha(char32_t c);
bool is_decimal(char32_t c);
bool is_digit(char32_t c);
bool is_numeric(char32_t c);
bool is_alnum(char32_t c);
bool is_lower(char32_t c);
bool is_upper(char32_t c);
bool is_title(char32_t c);
bool is_printable(char32_t c);  ///< repr() shows it as it is
bool is_word(char32_t c);       ///< \w of a regular expression
bool is_identifier(std::string_view text);
int decimal_value(char32_t c);  ///< of a decimal digit, else -1

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);  ///< str.capitalize
std::string title(std::string_view text);       ///< str.title
std::string swapcase(std::string_view text);

/// Without leading / trailing characters out of `chars`; white space when it is null.
std::string_view strip(std::string_view text, bool left, bool right,
                       const std::string_view* chars = nullptr);

/// "&<>'\"" as markupsafe.escape writes them.
std::string escape_html(std::string_view text);

}  // namespace tern::text::jinja
