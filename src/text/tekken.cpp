#include "text/tekken.h"

#include <cstdint>
#include <vector>

#include "text/unicode.h"
#include "text/utf8.h"

namespace tern::text {
namespace {

enum Class : std::uint8_t {
  kUpper = 1,    ///< [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
  kLower = 2,    ///< [\p{Ll}\p{Lm}\p{Lo}\p{M}]
  kPrefix = 4,   ///< [^\r\n\p{L}\p{N}]
  kNumber = 8,   ///< \p{N}
  kSymbol = 16,  ///< [^\s\p{L}\p{N}]
  kSpace = 32,   ///< \s
  kNewline = 64  ///< [\r\n]
};

std::uint8_t classify(char32_t code) {
  using enum Category;
  if (code == '\r' || code == '\n') return kSpace | kNewline;
  if (is_space(code)) return kSpace | kPrefix;
  switch (category(code)) {
    case Lu:
    case Lt:
      return kUpper;
    case Ll:
      return kLower;
    case Lm:
    case Lo:
      return kUpper | kLower;
    case Mn:
    case Mc:
    case Me:
      return kUpper | kLower | kPrefix | kSymbol;
    case Nd:
    case Nl:
    case No:
      return kNumber;
    default:
      return kPrefix | kSymbol;
  }
}

std::uint8_t classes(char32_t code) {
  static const std::vector<std::uint8_t> table = [] {
    std::vector<std::uint8_t> all(kCodePoints);
    for (char32_t at = 0; at < kCodePoints; ++at) all[at] = classify(at);
    return all;
  }();
  return table[code];
}

/// Reads characters from the front of a text.
struct Cursor {
  std::string_view text;
  std::size_t at = 0;

  /// The classes of the character at the cursor, 0 at the end; `bytes` is its length.
  std::uint8_t peek(std::size_t& bytes) const {
    bytes = 0;
    if (at >= text.size()) return 0;
    const Utf8Step step = utf8_step(text.substr(at));
    bytes = step.bytes;
    return classes(step.code);
  }
  void skip(std::uint8_t wanted) {
    std::size_t bytes = 0;
    while ((peek(bytes) & wanted) != 0) at += bytes;
  }
};

/// U*L+ at `begin`: its end, or 0. When no lower-case letter follows the upper run, the run gives
/// back what no L takes, so the match ends behind the last character that is in both. `upper_end`
/// becomes the end of U*.
std::size_t match_lower(std::string_view text, std::size_t begin, std::size_t& upper_end) {
  Cursor cursor{text, begin};
  std::size_t both_end = 0;
  std::size_t bytes = 0;
  std::uint8_t found = cursor.peek(bytes);
  for (; (found & kUpper) != 0; found = cursor.peek(bytes)) {
    cursor.at += bytes;
    if ((found & kLower) != 0) both_end = cursor.at;
  }
  upper_end = cursor.at;
  if ((found & kLower) == 0) return both_end;
  cursor.skip(kLower);
  return cursor.at;
}

/// \s*[\r\n]+|\s+(?!\S)|\s+ where white space stands.
std::size_t match_space(std::string_view text) {
  Cursor cursor{text, 0};
  std::size_t newline_end = 0;
  std::size_t last = 0;  // where the last white space begins
  std::size_t bytes = 0;
  for (std::uint8_t found = cursor.peek(bytes); (found & kSpace) != 0; found = cursor.peek(bytes)) {
    last = cursor.at;
    cursor.at += bytes;
    if ((found & kNewline) != 0) newline_end = cursor.at;
  }
  if (newline_end != 0) return newline_end;
  const bool keeps_last = cursor.at == text.size() || last == 0;
  return keeps_last ? cursor.at : last;
}

}  // namespace

std::size_t tekken_match(std::string_view text) {
  Cursor cursor{text, 0};
  std::size_t first_bytes = 0;
  const std::uint8_t first = cursor.peek(first_bytes);

  // The two word branches: first each with a prefix, which is taken if it can be, then without.
  std::size_t upper_end = 0;
  if ((first & kPrefix) != 0) {
    if (const auto end = match_lower(text, first_bytes, upper_end)) return end;
  }
  const bool upper_after_prefix = (first & kPrefix) != 0 && upper_end > first_bytes;
  if ((first & (kUpper | kLower)) != 0) {
    std::size_t end_without = 0;
    if (const auto end = match_lower(text, 0, end_without)) return end;
    if (end_without > 0 && !upper_after_prefix) return end_without;
  }
  if (upper_after_prefix) return upper_end;

  if ((first & kNumber) != 0) return first_bytes;

  std::size_t second_bytes = 0;
  cursor.at = first_bytes;
  const bool space_then_symbol = text[0] == ' ' && (cursor.peek(second_bytes) & kSymbol) != 0;
  if (space_then_symbol || (first & kSymbol) != 0) {
    cursor.at = space_then_symbol ? first_bytes : 0;
    cursor.skip(kSymbol);
    while (cursor.at < text.size() &&
           (text[cursor.at] == '\r' || text[cursor.at] == '\n' || text[cursor.at] == '/'))
      ++cursor.at;
    return cursor.at;
  }
  return match_space(text);
}

}  // namespace tern::text
