#include "text/python_literal.h"

#include <charconv>
#include <cmath>
#include <string>

#include "text/utf8.h"

namespace tern::text {
namespace {

constexpr int kMaxDepth = 64;

using Value = std::optional<json::value>;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value parse() {
    Value result = value(0);
    skip_space();
    return at_ == text_.size() ? result : std::nullopt;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool eat(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n\f").contains(text_[at_])) ++at_;
  }
  bool eat_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Value value(int depth) {
    if (depth > kMaxDepth) return std::nullopt;
    skip_space();
    if (eat('[')) return elements(']', depth);
    if (eat('(')) return tuple(depth);
    if (eat('{')) return dictionary(depth);
    if (peek() == '\'' || peek() == '"') return string();
    if (eat_word("None")) return json::value(nullptr);
    if (eat_word("True")) return json::value(true);
    if (eat_word("False")) return json::value(false);
    return number();
  }

  /// Comma-separated values up to `close`; a comma may come last.
  Value elements(char close, int depth) {
    json::array array;
    for (;;) {
      skip_space();
      if (eat(close)) return array;
      Value element = value(depth + 1);
      if (!element) return std::nullopt;
      array.push_back(*std::move(element));
      skip_space();
      had_comma_ = eat(',');
      if (!had_comma_ && peek() != close) return std::nullopt;
    }
  }

  /// (a) is a; (a,) and (a, b) are tuples.
  Value tuple(int depth) {
    had_comma_ = false;
    Value inner = elements(')', depth);
    if (inner && inner->get_array().size() == 1 && !had_comma_) return inner->get_array().front();
    return inner;
  }

  Value dictionary(int depth) {
    json::object object;
    for (;;) {
      skip_space();
      if (eat('}')) return object;
      Value key = value(depth + 1);
      skip_space();
      if (!key || key->is_array() || key->is_object() || !eat(':')) return std::nullopt;
      Value member = value(depth + 1);
      if (!member) return std::nullopt;
      object[key->is_string() ? std::string(key->get_string()) : json::serialize(*key)] =
          *std::move(member);
      skip_space();
      if (!eat(',') && peek() != '}') return std::nullopt;
    }
  }

  /// One string after another is one string, as in Python.
  Value string() {
    std::string out;
    do {
      const char quote = text_[at_++];
      for (;;) {
        if (at_ == text_.size() || peek() == '\n') return std::nullopt;
        const char c = text_[at_++];
        if (c == quote) break;
        if (c != '\\')
          out.push_back(c);
        else if (!escape(out))
          return std::nullopt;
      }
      skip_space();
    } while (peek() == '\'' || peek() == '"');
    return json::value(out);
  }

  bool escape(std::string& out) {
    constexpr std::string_view kLetters = "ntrabfv0\\'\"\n";
    constexpr std::string_view kMeanings("\n\t\r\a\b\f\v\0\\'\"", 11);
    if (at_ == text_.size()) return false;
    const char c = text_[at_++];
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits != 0) {
      std::uint32_t code = 0;
      const std::string_view hex = text_.substr(at_, digits);
      const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
      if (error != std::errc() || end != hex.data() + digits) return false;
      at_ += digits;
      append_utf8(code, out);
      return true;
    }
    const std::size_t known = kLetters.find(c);
    if (c == '\n') return true;  // a line that goes on
    if (known == std::string_view::npos)
      out.append({'\\', c});
    else
      out.push_back(kMeanings[known]);
    return true;
  }

  Value number() {
    const std::size_t begin = at_;
    if (peek() == '+') ++at_;
    const std::size_t digits = at_;
    while (std::string_view("+-.0123456789eE").contains(peek()) && at_ < text_.size()) ++at_;
    const std::string_view text = text_.substr(digits, at_ - digits);
    if (text.empty() || (digits != begin && text.front() == '-')) return std::nullopt;
    std::int64_t integer = 0;
    const char* const last = text.data() + text.size();
    if (const auto [end, error] = std::from_chars(text.data(), last, integer);
        error == std::errc() && end == last)
      return json::value(integer);
    double real = 0;
    const auto [end, error] = std::from_chars(text.data(), last, real);
    if (error != std::errc() || end != last || !std::isfinite(real)) return std::nullopt;
    return json::value(real);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool had_comma_ = false;  ///< after the last element that elements() read
};

}  // namespace

std::optional<json::value> parse_python_literal(std::string_view text) {
  return Parser(text).parse();
}

}  // namespace tern::text
