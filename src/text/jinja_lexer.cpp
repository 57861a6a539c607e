#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

bool is_ascii_digit(char c) {
  return c >= '0' && c <= '9';
}
char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
}

class Lexer {
 public:
  Lexer(std::string_view source, Arena& arena, std::string_view where)
      : source_(source), arena_(arena), where_(where) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) TERN_TRY_VOID(lex_root());
    push(TokenKind::end, {});
    return std::move(tokens_);
  }

 private:
  using Done = Result<void>;

  bool looking_at(std::string_view text) const { return source_.substr(at_).starts_with(text); }

  void advance(std::size_t n) {
    line_ += static_cast<std::uint32_t>(std::ranges::count(source_.substr(at_, n), '\n'));
    at_ += n;
  }

  void push(TokenKind kind, std::string_view text) { tokens_.push_back({kind, text, line_}); }

  std::unexpected<Error> error(std::string what) const {
    return fail(ErrorCode::corrupt, std::move(what),
                std::string(where_) + ":" + std::to_string(line_));
  }

  std::size_t space_length(std::size_t from) const {
    std::size_t end = from;
    while (end < source_.size()) {
      std::size_t next = end;
      if (!is_space(decode(source_, next))) break;
      end = next;
    }
    return end - from;
  }

  /// Length of "-%}" and the white space behind it, "+%}", or "%}" and a line end; 0 if none.
  std::size_t close_length(std::size_t from, std::string_view close, bool plus,
                           bool trim_newline) const {
    const std::string_view rest = source_.substr(from);
    if (rest.starts_with('-') && rest.substr(1).starts_with(close)) {
      return 3 + space_length(from + 3);
    }
    if (plus && rest.starts_with('+') && rest.substr(1).starts_with(close)) return 3;
    if (!rest.starts_with(close)) return 0;
    return trim_newline && rest.substr(2).starts_with('\n') ? 3 : 2;
  }

  /// Text before a tag, shortened as the tag's sign and lstrip_blocks ask.
  std::string_view before_tag(std::string_view text, char sign, bool variable) const {
    if (sign == '-') return strip(text, false, true);
    if (sign == '+' || variable) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (begin == 0 && !line_starting_) return text;
    return strip(text.substr(begin), true, false).empty() ? text.substr(0, begin) : text;
  }

  /// Data up to the next tag, then the tag.
  Done lex_root() {
    std::size_t open = at_;
    for (; open + 1 < source_.size(); ++open) {
      const char second = source_[open + 1];
      if (source_[open] == '{' && (second == '%' || second == '{' || second == '#')) break;
    }
    if (open + 1 >= source_.size()) {
      push(TokenKind::data, source_.substr(at_));
      at_ = source_.size();
      return {};
    }
    const char kind = source_[open + 1];
    const char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
    const bool signed_tag = sign == '-' || sign == '+';
    const std::string_view text =
        before_tag(source_.substr(at_, open - at_), signed_tag ? sign : '\0', kind == '{');
    if (!text.empty()) push(TokenKind::data, text);
    advance(open - at_);

    if (kind == '%') {
      if (const std::size_t raw = raw_length()) return lex_raw(raw);
    }
    const std::size_t begin_length = signed_tag ? 3 : 2;
    if (kind == '#') return lex_comment(begin_length);
    push(kind == '%' ? TokenKind::block_begin : TokenKind::variable_begin, {});
    at_ += begin_length;
    return lex_code(kind == '%');
  }

  /// Length of "{% raw %}" here, or 0.
  std::size_t raw_length() const {
    std::size_t at = at_ + 2;
    if (at < source_.size() && (source_[at] == '-' || source_[at] == '+')) ++at;
    at += space_length(at);
    if (!source_.substr(at).starts_with("raw")) return 0;
    at += 3;
    at += space_length(at);
    const std::size_t close = close_length(at, "%}", false, false);
    return close == 0 ? 0 : at + close - at_;
  }

  Done lex_raw(std::size_t open_length) {
    advance(open_length);
    line_starting_ = source_[at_ - 1] == '\n';
    for (std::size_t tag = source_.find("{%", at_); tag != std::string_view::npos;
         tag = source_.find("{%", tag + 1)) {
      std::size_t at = tag + 2;
      const char sign = at < source_.size() ? source_[at] : '\0';
      const bool signed_tag = sign == '-' || sign == '+';
      if (signed_tag) ++at;
      at += space_length(at);
      if (!source_.substr(at).starts_with("endraw")) continue;
      at += 6;
      at += space_length(at);
      const std::size_t close = close_length(at, "%}", true, true);
      if (close == 0) continue;
      const std::string_view text =
          before_tag(source_.substr(at_, tag - at_), signed_tag ? sign : '\0', false);
      if (!text.empty()) push(TokenKind::data, text);
      advance(at + close - at_);
      line_starting_ = source_[at_ - 1] == '\n';
      return {};
    }
    return error("Missing end of raw directive");
  }

  Done lex_comment(std::size_t begin_length) {
    std::size_t close = source_.find("#}", at_ + begin_length);
    if (close == std::string_view::npos) return error("Missing end of comment tag");
    const char before = close > at_ + begin_length ? source_[close - 1] : '\0';
    if (before == '-' || before == '+') --close;
    advance(close + close_length(close, "#}", true, true) - at_);
    line_starting_ = source_[at_ - 1] == '\n';
    return {};
  }

  /// Tokens of a block or a print statement, with its end.
  Done lex_code(bool block) {
    std::string open_brackets;
    while (at_ < source_.size()) {
      if (open_brackets.empty()) {
        const std::size_t close =
            block ? close_length(at_, "%}", true, true) : close_length(at_, "}}", false, false);
        if (close > 0) {
          push(block ? TokenKind::block_end : TokenKind::variable_end, {});
          advance(close);
          line_starting_ = source_[at_ - 1] == '\n';
          return {};
        }
      }
      if (const std::size_t space = space_length(at_)) {
        advance(space);
        continue;
      }
      TERN_TRY_VOID(lex_token(open_brackets));
    }
    return {};  // the parser reports the missing end
  }

  Done lex_token(std::string& open_brackets) {
    const char c = source_[at_];
    if (is_ascii_digit(c)) return lex_number();
    if (c == '\'' || c == '"') return lex_string(c);
    std::size_t end = at_;
    while (end < source_.size()) {
      std::size_t next = end;
      if (!is_word(decode(source_, next))) break;
      end = next;
    }
    if (end > at_) {
      const std::string_view name = source_.substr(at_, end - at_);
      if (!is_identifier(name)) return error("Invalid character in identifier");
      push(TokenKind::name, name);
      at_ = end;
      return {};
    }
    return lex_operator(open_brackets);
  }

  Done lex_operator(std::string& open_brackets) {
    constexpr std::array<std::string_view, 6> kLong = {"//", "**", "==", "!=", ">=", "<="};
    constexpr std::string_view kShort = "+-/*%~[](){}><=.:|,;";
    const auto two = std::ranges::find_if(kLong, [&](auto op) { return looking_at(op); });
    const char c = source_[at_];
    if (two == kLong.end() && kShort.find(c) == std::string_view::npos) {
      std::size_t next = at_;
      decode(source_, next);
      return error("unexpected char '" + std::string(source_.substr(at_, next - at_)) + "' at " +
                   std::to_string(at_));
    }
    if (c == '(' || c == '[' || c == '{') {
      open_brackets.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_brackets.empty()) return error(std::string("unexpected '") + c + "'");
      if (open_brackets.back() != c) {
        return error(std::string("unexpected '") + c + "', expected '" + open_brackets.back() +
                     "'");
      }
      open_brackets.pop_back();
    }
    const std::size_t n = two == kLong.end() ? 1 : 2;
    push(TokenKind::op, source_.substr(at_, n));
    at_ += n;
    return {};
  }

  /// End of "digits", single underscores between them, from `from`; `from` if there are none.
  template <class IsDigit>
  std::size_t digits_end(std::size_t from, IsDigit is_digit_char) const {
    std::size_t end = from;
    while (end < source_.size()) {
      const bool underscore = source_[end] == '_' && end > from;
      const std::size_t digit = underscore ? end + 1 : end;
      if (digit >= source_.size() || !is_digit_char(source_[digit])) break;
      end = digit + 1;
    }
    return end;
  }

  /// End of a float that begins here, or `at_`.
  std::size_t float_end() const {
    if (at_ > 0 && source_[at_ - 1] == '.') return at_;
    const std::size_t whole = digits_end(at_, is_ascii_digit);
    std::size_t end = whole;
    bool real = false;
    if (end < source_.size() && source_[end] == '.') {
      const std::size_t fraction = digits_end(end + 1, is_ascii_digit);
      if (fraction > end + 1) {
        end = fraction;
        real = true;
      }
    }
    if (end < source_.size() && to_lower(source_[end]) == 'e') {
      std::size_t digits = end + 1;
      if (digits < source_.size() && (source_[digits] == '+' || source_[digits] == '-')) ++digits;
      const std::size_t exponent = digits_end(digits, is_ascii_digit);
      if (exponent > digits) return exponent;
    }
    return real ? end : at_;
  }

  std::size_t integer_end() const {
    if (source_[at_] != '0') return digits_end(at_, is_ascii_digit);
    const char letter = at_ + 1 < source_.size() ? to_lower(source_[at_ + 1]) : '\0';
    // After "0x" the first underscore may come at once.
    const auto prefixed = [&](auto is_digit_char) {
      std::size_t from = at_ + 2;
      if (from < source_.size() && source_[from] == '_') ++from;
      const std::size_t end = digits_end(from, is_digit_char);
      return end > from ? end : at_ + 1;
    };
    if (letter == 'b') return prefixed([](char c) { return c == '0' || c == '1'; });
    if (letter == 'o') return prefixed([](char c) { return c >= '0' && c <= '7'; });
    if (letter == 'x') {
      return prefixed(
          [](char c) { return is_ascii_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'f'); });
    }
    return digits_end(at_, [](char c) { return c == '0'; });
  }

  Done lex_number() {
    const std::size_t real = float_end();
    const std::size_t end = real > at_ ? real : integer_end();
    push(real > at_ ? TokenKind::real : TokenKind::integer, source_.substr(at_, end - at_));
    at_ = end;
    return {};
  }

  Done lex_string(char quote) {
    std::size_t end = at_ + 1;
    bool escapes = false;
    while (end < source_.size() && source_[end] != quote) {
      escapes |= source_[end] == '\\';
      end += source_[end] == '\\' ? 2 : 1;
    }
    if (end >= source_.size()) {
      return error(std::string("unexpected char '") + quote + "' at " + std::to_string(at_));
    }
    std::string_view text = source_.substr(at_ + 1, end - at_ - 1);
    if (escapes) {
      TERN_TRY(const std::string unescaped, unescape(text));
      text = arena_.copy(unescaped);
    }
    push(TokenKind::string, text);
    advance(end + 1 - at_);
    return {};
  }

  /// Python's string escapes (the "unicode-escape" codec).
  Result<std::string> unescape(std::string_view text) const {
    std::string out;
    for (std::size_t i = 0; i < text.size();) {
      if (text[i] != '\\') {
        out.push_back(text[i++]);
        continue;
      }
      ++i;
      TERN_TRY_VOID(unescape_one(text, i, out));
    }
    return out;
  }

  /// `i` is behind a backslash, and then behind what it began.
  Done unescape_one(std::string_view text, std::size_t& i, std::string& out) const {
    constexpr std::string_view kFrom = "\\'\"abfnrtv";
    constexpr std::string_view kTo = "\\'\"\a\b\f\n\r\t\v";
    const char c = text[i];
    if (c == '\n') {
      ++i;
    } else if (const std::size_t simple = kFrom.find(c); simple != std::string_view::npos) {
      out.push_back(kTo[simple]);
      ++i;
    } else if (c >= '0' && c <= '7') {
      char32_t value = 0;
      for (int n = 0; n < 3 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++n, ++i) {
        value = value * 8 + static_cast<char32_t>(text[i] - '0');
      }
      append_utf8(out, value);
    } else if (c == 'x' || c == 'u' || c == 'U') {
      return unescape_hex(text, i, c == 'x' ? 2 : c == 'u' ? 4 : 8, out);
    } else if (c == 'N') {
      return error("\\N{...} escapes are not supported");
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      // Jinja2 replaces such a character by its own escape first; the backslash then hides it.
      const char32_t point = decode(text, i);
      std::array<char, 12> hex{};
      std::snprintf(hex.data(), hex.size(),
                    point < 0x100     ? "x%02x"
                    : point < 0x10000 ? "u%04x"
                                      : "U%08x",
                    static_cast<unsigned>(point));
      out += '\\';
      out += hex.data();
    } else {
      out += '\\';
      out.push_back(c);
      ++i;
    }
    return {};
  }

  Done unescape_hex(std::string_view text, std::size_t& i, std::size_t digits,
                    std::string& out) const {
    const std::string_view hex = text.substr(std::min(i + 1, text.size()), digits);
    char32_t value = 0;
    for (const char h : hex) {
      const char l = to_lower(h);
      const bool letter = l >= 'a' && l <= 'f';
      if (!letter && !is_ascii_digit(l))
        return error("truncated \\" + std::string(1, text[i]) + " escape");
      value = value * 16 + static_cast<char32_t>(letter ? l - 'a' + 10 : l - '0');
    }
    if (hex.size() < digits) return error("truncated \\" + std::string(1, text[i]) + " escape");
    if (value > 0x10ffff) return error("illegal Unicode character");
    if (value >= 0xd800 && value <= 0xdfff) return error("a lone surrogate is no character");
    append_utf8(out, value);
    i += 1 + digits;
    return {};
  }

  std::string_view source_;
  Arena& arena_;
  std::string_view where_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  bool line_starting_ = true;  ///< the last tag ended in a line end
  std::vector<Token> tokens_;
};

}  // namespace

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out.push_back('\n');
    } else {
      out.push_back(source[i]);
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

Result<std::vector<Token>> tokenize(std::string_view source, Arena& arena, std::string_view where) {
  return Lexer(source, arena, where).run();
}

}  // namespace tern::text::jinja
