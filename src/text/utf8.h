// UTF-8 as it comes from outside: every byte string is a sequence of characters and of maximal
// invalid subparts (Unicode 15, section 3.9, table 3-8: the rule of Python's errors="replace").
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace tern::text {

inline constexpr char32_t kReplacement = 0xFFFD;

/// One step through a byte string.
struct Utf8Step {
  char32_t code = kReplacement;
  unsigned char bytes = 1;  ///< length of the character or of the invalid subpart, at least 1
  bool valid = false;
  bool cut = false;  ///< invalid only because the text ends: more bytes could complete it
};

/// The first character of `text`, which is not empty.
Utf8Step utf8_step(std::string_view text);

/// Appends the character; a surrogate or a number above 0x10FFFF becomes U+FFFD.
void append_utf8(char32_t code, std::string& out);

/// `bytes` with every maximal invalid subpart replaced by U+FFFD.
std::string to_valid_utf8(std::string_view bytes);

}  // namespace tern::text
