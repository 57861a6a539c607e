#include "text/jinja_wrap.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "text/jinja_strings.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

using Points = std::u32string_view;

/// textwrap splits at ASCII white space only.
bool is_wrap_space(char32_t c) {
  return c == U' ' || (c >= 0x09 && c <= 0x0d);
}

bool is_letter(char32_t c) {
  return is_word(c) && !is_decimal(c);
}

/// A hyphen at `i` ends a chunk: two letters before it, a letter behind it.
bool breaks_at_hyphen(Points text, std::size_t i, std::size_t begin) {
  const auto letter = [&](std::size_t at) { return at < text.size() && is_letter(text[at]); };
  if (i < begin + 2 || !letter(i - 1)) return false;
  const bool before = letter(i - 2) || (i >= 3 && text[i - 2] == U'-' && letter(i - 3));
  const bool after =
      letter(i + 1) &&
      (letter(i + 2) || (i + 2 < text.size() && text[i + 2] == U'-' && letter(i + 3)));
  return before && after;
}

std::vector<Points> chunks_of(Points text, bool hyphens) {
  std::vector<Points> chunks;
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t end = begin + 1;
    if (is_wrap_space(text[begin])) {
      while (end < text.size() && is_wrap_space(text[end])) ++end;
    } else {
      while (end < text.size() && !is_wrap_space(text[end])) {
        if (hyphens && text[end - 1] == U'-' && breaks_at_hyphen(text, end - 1, begin)) break;
        ++end;
      }
    }
    chunks.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  std::ranges::reverse(chunks);
  return chunks;
}

bool blank(Points chunk) {
  return std::ranges::all_of(chunk, is_space);
}

/// Takes what fits from a chunk longer than a line.
void break_chunk(std::vector<Points>& chunks, std::u32string& line, std::size_t room,
                 const WrapStyle& style) {
  const std::size_t space = style.width < 1 ? 1 : room;
  if (!style.break_long_words) {
    if (line.empty()) {
      line += chunks.back();
      chunks.pop_back();
    }
    return;
  }
  std::size_t end = space;
  Points& chunk = chunks.back();
  if (style.break_on_hyphens && chunk.size() > space) {
    const std::size_t hyphen = space == 0 ? Points::npos : chunk.rfind(U'-', space - 1);
    const bool inside =
        hyphen != Points::npos && hyphen > 0 &&
        std::any_of(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(hyphen),
                    [](char32_t c) { return c != U'-'; });
    if (inside) end = hyphen + 1;
  }
  line += chunk.substr(0, end);
  chunk.remove_prefix(std::min(end, chunk.size()));
}

struct Entity {
  std::string_view name;
  char32_t c;
};
constexpr std::array<Entity, 6> kEntities = {{{"amp;", U'&'},
                                              {"lt;", U'<'},
                                              {"gt;", U'>'},
                                              {"quot;", U'"'},
                                              {"apos;", U'\''},
                                              {"nbsp;", 0xa0}}};

/// Appends what the "&..." at `at` stands for, and moves behind it; false if it is no entity.
bool append_entity(std::string_view text, std::size_t& at, std::string& out) {
  std::string_view rest = text.substr(at + 1);
  for (const Entity& entity : kEntities) {
    if (!rest.starts_with(entity.name)) continue;
    append_utf8(out, entity.c);
    at += 1 + entity.name.size();
    return true;
  }
  if (!rest.starts_with('#')) return false;
  const bool hex = rest.size() > 1 && (rest[1] == 'x' || rest[1] == 'X');
  const char* first = rest.data() + (hex ? 2 : 1);
  const char* last = rest.data() + std::min<std::size_t>(rest.size(), 12);
  std::uint32_t c = 0;
  const auto [end, error] = std::from_chars(std::min(first, last), last, c, hex ? 16 : 10);
  if (error != std::errc() || c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return false;
  append_utf8(out, c);
  at += 1 + static_cast<std::size_t>(end - rest.data());
  if (at < text.size() && text[at] == ';') ++at;
  return true;
}

/// Without what stands between `open` and `close`.
std::string remove_between(std::string_view text, std::string_view open, std::string_view close) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = text.find(open, at);
    const std::size_t end = begin == std::string_view::npos ? begin : text.find(close, begin);
    if (end == std::string_view::npos) return out.append(text.substr(at));
    out += text.substr(at, begin - at);
    at = end + close.size();
  }
  return out;
}

}  // namespace

std::vector<std::string> wrap_line(std::string_view line, const WrapStyle& style) {
  const std::u32string points = to_code_points(line);
  std::vector<Points> chunks = chunks_of(points, style.break_on_hyphens);
  std::vector<std::string> lines;
  while (!chunks.empty()) {
    std::u32string current;
    std::size_t last_length = 0;
    if (!lines.empty() && blank(chunks.back())) chunks.pop_back();
    while (!chunks.empty() && current.size() + chunks.back().size() <= style.width) {
      last_length = chunks.back().size();
      current += chunks.back();
      chunks.pop_back();
    }
    if (!chunks.empty() && chunks.back().size() > style.width) {
      const std::size_t before = current.size();
      break_chunk(chunks, current, style.width - current.size(), style);
      last_length = current.size() - before;
    }
    if (last_length > 0 && blank(Points(current).substr(current.size() - last_length))) {
      current.resize(current.size() - last_length);
    }
    if (current.empty()) continue;
    std::string out;
    for (const char32_t c : current) append_utf8(out, c);
    lines.push_back(std::move(out));
  }
  return lines;
}

std::string strip_tags(std::string_view text) {
  const std::string bare = remove_between(remove_between(text, "<!--", "-->"), "<", ">");
  std::string collapsed;
  for (const std::string_view word : split_space(bare, SIZE_MAX)) {
    if (!collapsed.empty()) collapsed += ' ';
    collapsed += word;
  }
  std::string out;
  for (std::size_t at = 0; at < collapsed.size();) {
    if (collapsed[at] == '&' && append_entity(collapsed, at, out)) continue;
    out += collapsed[at++];
  }
  return out;
}

}  // namespace tern::text::jinja
