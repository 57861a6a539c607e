#include "text/jinja_search.h"

#include <string>

namespace tern::text::jinja {

namespace {

constexpr std::size_t kShortNeedle = 16;

}  // namespace

Searcher::Searcher(std::string_view needle) : needle_(needle) {
  if (needle.size() <= kShortNeedle) return;
  border_.resize(needle.size(), 0);
  std::uint32_t k = 0;
  for (std::size_t i = 1; i < needle.size(); ++i) {
    while (k > 0 && needle[i] != needle[k]) k = border_[k - 1];
    if (needle[i] == needle[k]) ++k;
    border_[i] = k;
  }
}

std::size_t Searcher::find(std::string_view text, std::size_t from) const {
  if (border_.empty()) return text.find(needle_, from);
  std::uint32_t k = 0;
  for (std::size_t i = from; i < text.size(); ++i) {
    while (k > 0 && text[i] != needle_[k]) k = border_[k - 1];
    if (text[i] == needle_[k]) ++k;
    if (k == needle_.size()) return i + 1 - k;
  }
  return std::string_view::npos;
}

std::size_t Searcher::find_last(std::string_view text, std::string_view needle) {
  if (needle.size() <= kShortNeedle) return text.rfind(needle);
  const std::string reversed_text(text.rbegin(), text.rend());
  const std::string reversed_needle(needle.rbegin(), needle.rend());
  const std::size_t at = Searcher(reversed_needle).find(reversed_text);
  return at == std::string_view::npos ? at : text.size() - at - needle.size();
}

}  // namespace tern::text::jinja
