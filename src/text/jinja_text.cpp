#include "text/jinja_text.h"

#include <algorithm>

namespace tern::text::jinja {

namespace {

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

/// Length of the well-formed sequence that begins at `at`, or 0.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() - at < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if (!is_continuation(text[at + i])) return 0;
  }
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;  // overlong
  if (lead == 0xed && byte(1) > 0x9f) return 0;  // surrogates
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return n;
}

}  // namespace

std::size_t count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += std::size_t(!is_continuation(c));
  return count;
}

bool valid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t n = sequence_length(text, at);
    if (n == 0) return false;
    at += n;
  }
  return true;
}

char32_t decode(std::string_view text, std::size_t& position) {
  const auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[position + i]));
  };
  const std::size_t n = sequence_length(text, position);
  char32_t c = byte(0);
  if (n == 2) c = (c & 0x1f) << 6 | (byte(1) & 0x3f);
  if (n == 3) c = (c & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
  if (n == 4) {
    c = (c & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
  if (n == 0) c += 0xdc00;
  position += n == 0 ? 1 : n;
  return c;
}

char32_t decode_back(std::string_view text, std::size_t& position) {
  std::size_t begin = position - 1;
  while (begin > 0 && position - begin < 4 && is_continuation(text[begin])) --begin;
  std::size_t end = begin;
  const char32_t c = decode(text, end);
  if (end == position) {
    position = begin;
    return c;
  }
  --position;
  return 0xdc00 + static_cast<char32_t>(static_cast<unsigned char>(text[position]));
}

void append_utf8(std::string& text, char32_t c) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 0x3f));
  } else if (c >= 0xdc80 && c <= 0xdcff) {
    put(c - 0xdc00);
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

std::u32string to_code_points(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) out.push_back(decode(text, at));
  return out;
}

std::string_view strip(std::string_view text, bool left, bool right,
                       const std::string_view* chars) {
  std::u32string set = chars ? to_code_points(*chars) : std::u32string();
  std::ranges::sort(set);
  const auto drop = [&](char32_t c) {
    return chars ? std::ranges::binary_search(set, c) : is_space(c);
  };
  std::size_t begin = 0;
  std::size_t end = text.size();
  while (left && begin < end) {
    std::size_t next = begin;
    if (!drop(decode(text, next))) break;
    begin = next;
  }
  while (right && end > begin) {
    std::size_t next = end;
    if (!drop(decode_back(text, next))) break;
    end = next;
  }
  return text.substr(begin, end - begin);
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace tern::text::jinja
