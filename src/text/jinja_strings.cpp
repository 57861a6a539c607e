#include "text/jinja_strings.h"

#include <utf8proc.h>

#include <algorithm>

#include "text/jinja_search.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

Eval<Value> replace_text(Interpreter& in, std::string_view text, std::string_view old,
                         std::string_view replacement, std::int64_t count, bool markup) {
  TERN_TRY_VOID(in.charge_bytes(text.size() + old.size()));
  const std::size_t most = count < 0 ? SIZE_MAX : static_cast<std::size_t>(count);
  std::string out;
  std::size_t done = 0;
  std::size_t at = 0;
  if (old.empty()) {
    TERN_TRY_VOID(in.reserve(std::min(text.size() + 1, most), replacement.size() + 1));
    for (; done < most; ++done) {
      out += replacement;
      if (at == text.size()) break;
      const std::size_t begin = at;
      decode(text, at);
      out += text.substr(begin, at - begin);
    }
    return in.text(out.append(text.substr(at)), markup);
  }
  const Searcher searcher(old);
  for (; done < most; ++done) {
    const std::size_t next = searcher.find(text, at);
    if (next == std::string_view::npos) break;
    TERN_TRY_VOID(in.reserve(out.size() + replacement.size() + next - at));
    out.append(text.substr(at, next - at)).append(replacement);
    at = next + old.size();
  }
  if (done == 0) return in.text(text, markup);
  return in.text(out.append(text.substr(at)), markup);
}

Eval<Value> join_text(Interpreter& in, std::span<const std::string_view> parts,
                      std::string_view separator, bool markup) {
  if (parts.empty()) return in.text("", markup);
  std::size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  TERN_TRY_VOID(in.reserve(parts.size(), separator.size() + 1));
  TERN_TRY_VOID(in.reserve(size));
  std::string out(parts[0]);
  out.reserve(size + separator.size() * (parts.size() - 1));
  for (const std::string_view part : parts.subspan(1)) out.append(separator).append(part);
  return in.text(out, markup);
}

Eval<Value> pad_text(Interpreter& in, std::string_view text, std::size_t left, std::size_t right,
                     std::string_view fill, bool markup) {
  TERN_TRY_VOID(in.reserve(left + right, fill.size()));
  std::string out;
  for (std::size_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (std::size_t i = 0; i < right; ++i) out += fill;
  return in.text(out, markup);
}

Eval<Value> list_of(Interpreter& in, std::span<const std::string_view> parts, bool markup) {
  TERN_TRY_VOID(in.reserve(parts.size(), sizeof(Value) + sizeof(String)));
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) {
    items.push_back(make_string_view(in.arena(), part, markup));
  }
  return in.list(items);
}

std::vector<std::string_view> split_space(std::string_view text, std::size_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, true, false);
  while (!text.empty()) {
    if (parts.size() == most) {
      parts.push_back(text);
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      std::size_t next = end;
      if (is_space(decode(text, next))) break;
      end = next;
    }
    parts.push_back(text.substr(0, end));
    text = strip(text.substr(end), true, false);
  }
  return parts;
}

std::vector<std::string_view> rsplit_space(std::string_view text, std::size_t most) {
  std::vector<std::string_view> parts;
  text = strip(text, false, true);
  while (!text.empty()) {
    if (parts.size() == most) {
      parts.push_back(text);
      break;
    }
    std::size_t begin = text.size();
    while (begin > 0) {
      std::size_t next = begin;
      if (is_space(decode_back(text, next))) break;
      begin = next;
    }
    parts.push_back(text.substr(begin));
    text = strip(text.substr(0, begin), false, true);
  }
  std::ranges::reverse(parts);
  return parts;
}

std::vector<std::string_view> split_text(std::string_view text, std::string_view separator,
                                         std::size_t most) {
  std::vector<std::string_view> parts;
  const Searcher searcher(separator);
  std::size_t begin = 0;
  while (parts.size() < most) {
    const std::size_t at = searcher.find(text, begin);
    if (at == std::string_view::npos) break;
    parts.push_back(text.substr(begin, at - begin));
    begin = at + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<std::string_view> rsplit_text(std::string_view text, std::string_view separator,
                                          std::size_t most) {
  // The mirror image: matches are found from the end.
  const std::string reversed(text.rbegin(), text.rend());
  const std::string reversed_separator(separator.rbegin(), separator.rend());
  std::vector<std::string_view> parts;
  std::size_t end = text.size();
  for (const std::string_view part : split_text(reversed, reversed_separator, most)) {
    parts.push_back(text.substr(end - part.size(), part.size()));
    end -= std::min(end, part.size() + separator.size());
  }
  std::ranges::reverse(parts);
  return parts;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = at;
    const char32_t c = decode(text, at);
    if (!is_line_break(c)) continue;
    if (c == U'\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep_ends ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string casefold(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = decode(text, at);
    utf8proc_int32_t folded[4] = {};
    const auto n = c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)
                       ? 0
                       : utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, 4,
                                                 UTF8PROC_CASEFOLD, nullptr);
    if (n <= 0 || n > 4) {
      append_utf8(out, c);
      continue;
    }
    for (utf8proc_ssize_t i = 0; i < n; ++i) append_utf8(out, static_cast<char32_t>(folded[i]));
  }
  return out;
}

}  // namespace tern::text::jinja
