#include "engine/budget.h"

#include <array>

namespace tern::engine {

bool ReasoningBudget::spent(std::size_t thought, std::string_view last_text) const {
  if (thought < tokens) return false;
  return thought == 0 || thought - tokens >= grace || ends_sentence(last_text);
}

bool ends_sentence(std::string_view text) {
  if (text.ends_with('\n')) return true;
  // The last three are U+3002, U+FF01 and U+FF1F in UTF-8.
  constexpr std::array<std::string_view, 6> kEnds = {
      ".", "!", "?", "\xe3\x80\x82", "\xef\xbc\x81", "\xef\xbc\x9f"};
  const std::size_t last = text.find_last_not_of(" \t\"')]}*_`");
  if (last == std::string_view::npos) return false;
  text = text.substr(0, last + 1);
  for (const std::string_view end : kEnds) {
    if (text.ends_with(end)) return true;
  }
  return false;
}

}  // namespace tern::engine
