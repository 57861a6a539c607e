#include "text/reasoning.h"

#include "text/unicode.h"
#include "text/utf8.h"

namespace tern::text {
namespace {

/// str.isspace of Python: White_Space and the four information separators.
bool is_python_space(char32_t code) {
  return is_space(code) || (code >= 0x1C && code <= 0x1F);
}

/// Bytes up to the end of the last character that is not white space.
std::size_t without_trailing_space(std::string_view text) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text.substr(at));
    at += step.bytes;
    if (!is_python_space(step.code)) end = at;
  }
  return end;
}

std::size_t leading_space(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = utf8_step(text.substr(at));
    if (!is_python_space(step.code)) break;
    at += step.bytes;
  }
  return at;
}

/// What comes before the tag in the text of its token: the end of an unfinished character.
std::string_view before_tag(std::string_view text, std::string_view tag) {
  if (text.ends_with(tag)) text.remove_suffix(tag.size());
  return text;
}

}  // namespace

ReasoningTokens ReasoningTokens::of(const Tokenizer& tokenizer) {
  return {.think_begin = tokenizer.special_id(kThinkBegin),
          .think_end = tokenizer.special_id(kThinkEnd),
          .tool_call = tokenizer.special_id(kToolCallBegin)};
}

void ReasoningSplitter::enter(bool thinking) {
  thinking_ = thinking;
  started_ = false;
  held_.clear();
}

void ReasoningSplitter::append(std::string_view text, std::vector<Part>& parts) {
  if (!started_) text.remove_prefix(leading_space(text));
  const std::size_t end = without_trailing_space(text);
  if (end == 0) {
    held_.append(text);
    return;
  }
  if (parts.empty() || parts.back().reasoning != thinking_) parts.push_back({{}, thinking_});
  parts.back().text.append(held_).append(text.substr(0, end));
  held_.assign(text.substr(end));
  started_ = true;
}

std::vector<ReasoningSplitter::Part> ReasoningSplitter::push(TokenId id, std::string_view text) {
  std::vector<Part> parts;
  const bool answering = !thinking_ && started_;
  if (id == tokens_.think_end && !answering) {
    if (thinking_) append(before_tag(text, kThinkEnd), parts);
    enter(false);
  } else if (id == tokens_.think_begin && !started_) {
    enter(true);
  } else if (id == tokens_.tool_call && thinking_) {
    const std::string_view before = before_tag(text, kToolCallBegin);
    append(before, parts);
    enter(false);
    append(text.substr(before.size()), parts);
  } else {
    append(text, parts);
  }
  return parts;
}

std::vector<ReasoningSplitter::Part> ReasoningSplitter::finish(std::string_view text) {
  std::vector<Part> parts;
  append(text, parts);
  held_.clear();
  return parts;
}

}  // namespace tern::text
