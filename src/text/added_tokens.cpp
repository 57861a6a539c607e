#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace tern::text {
namespace {

bool is_word(char32_t code) {
  if (code < 0x80)
    return (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || code == '_' ||
           (code >= 'a' && code <= 'z');
  if (code == 0x200C || code == 0x200D) return true;  // Join_Control, in \w of Rust's regex
  const bool latin1_number = category(code) == Category::No;
  return !latin1_number && CodeSet::word().contains(code);
}

/// Where the last character of `text`, which is not empty, begins.
std::size_t last_character(std::string_view text) {
  for (std::size_t bytes = std::min<std::size_t>(4, text.size()); bytes > 1; --bytes) {
    const Utf8Step step = utf8_step(text.substr(text.size() - bytes));
    if (step.valid && step.bytes == bytes) return text.size() - bytes;
  }
  return text.size() - 1;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && is_word(utf8_step(text.substr(last_character(text))).code);
}

bool starts_with_word(std::string_view text) {
  return !text.empty() && is_word(utf8_step(text).code);
}

std::size_t skip_space(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const Utf8Step step = utf8_step(text.substr(at));
    if (!is_space(step.code)) break;
    at += step.bytes;
  }
  return at;
}

std::size_t skip_space_back(std::string_view text, std::size_t at, std::size_t lowest) {
  while (at > lowest) {
    const std::size_t before = last_character(text.substr(0, at));
    if (before < lowest || !is_space(utf8_step(text.substr(before)).code)) break;
    at = before;
  }
  return at;
}

}  // namespace

void AddedTokenFinder::add(const AddedToken& token) {
  std::uint32_t node = 0;
  for (const char byte : token.content) {
    const auto next = static_cast<std::uint32_t>(nodes_.size());
    const auto [child, fresh] = nodes_[node].children.try_emplace(byte, next);
    node = child->second;
    if (fresh) nodes_.emplace_back();
  }
  if (nodes_[node].token != 0) return;  // the first of two equal tokens wins
  tokens_.push_back(token);
  nodes_[node].token = static_cast<std::uint32_t>(tokens_.size());
  first_bytes_[static_cast<unsigned char>(token.content.front())] = true;
}

const AddedToken* AddedTokenFinder::longest(std::string_view text) const {
  std::uint32_t node = 0;
  std::uint32_t found = 0;
  for (const char byte : text) {
    const auto child = nodes_[node].children.find(byte);
    if (child == nodes_[node].children.end()) break;
    node = child->second;
    if (nodes_[node].token != 0) found = nodes_[node].token;
  }
  return found == 0 ? nullptr : &tokens_[found - 1];
}

void AddedTokenFinder::split(std::string_view text, std::vector<TextSpan>& out) const {
  std::size_t begin = 0;  // of the text that no span covers yet
  for (std::size_t at = 0; at < text.size();) {
    const bool possible = first_bytes_[static_cast<unsigned char>(text[at])];
    const AddedToken* token = possible ? longest(text.substr(at)) : nullptr;
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t start = at;
    std::size_t end = at + token->content.size();
    at = end;
    if (token->single_word &&
        (ends_with_word(text.substr(0, start)) || starts_with_word(text.substr(end))))
      continue;
    if (token->lstrip) start = skip_space_back(text, start, begin);
    if (token->rstrip) at = end = skip_space(text, end);
    if (start > begin) out.push_back({text.substr(begin, start - begin), {}});
    out.push_back({text.substr(start, end - start), token->id});
    begin = end;
  }
  if (begin < text.size()) out.push_back({text.substr(begin), {}});
}

}  // namespace tern::text
