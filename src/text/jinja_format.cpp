#include "text/jinja_format.h"

#include <cmath>

#include "text/jinja_format_number.h"
#include "text/jinja_number.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

constexpr std::size_t kMaxWidth = 1u << 30;

/// repr() with everything beyond ASCII escaped.
std::string ascii_of(const std::string& repr) {
  std::string out;
  for (std::size_t at = 0; at < repr.size();) {
    const char32_t c = decode(repr, at);
    if (c < 0x80) {
      out += static_cast<char>(c);
      continue;
    }
    std::array<char, 12> hex{};
    std::snprintf(hex.data(), hex.size(),
                  c < 0x100     ? "\\x%02x"
                  : c < 0x10000 ? "\\u%04x"
                                : "\\U%08x",
                  static_cast<unsigned>(c));
    out += hex.data();
  }
  return out;
}

std::string_view first_code_points(std::string_view text, std::size_t n) {
  std::size_t at = 0;
  for (; n > 0 && at < text.size(); --n) decode(text, at);
  return text.substr(0, at);
}

/// Decimal digits at `at`; too many give kMaxWidth.
std::size_t read_number(std::string_view text, std::size_t& at) {
  std::size_t n = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    n = std::min(n * 10 + static_cast<std::size_t>(text[at] - '0'), kMaxWidth);
  }
  return n;
}

class PercentFormatter {
 public:
  PercentFormatter(Interpreter& in, const Value& format, const Value& values)
      : in_(in), format_(format.string->bytes), markup_(format.string->markup), values_(values) {
    if (values.is(Kind::tuple)) {
      arguments_ = values.sequence->items;
    } else {
      arguments_ = {&values_, 1};
    }
  }

  Eval<Value> run() {
    std::string out;
    std::size_t at = 0;
    while (at < format_.size()) {
      const std::size_t percent = format_.find('%', at);
      out += format_.substr(at, percent - at);
      if (percent == std::string_view::npos) break;
      at = percent + 1;
      TERN_TRY(const std::string field, next_field(at));
      TERN_TRY_VOID(in_.reserve(out.size() + field.size()));
      TERN_TRY_VOID(in_.charge_bytes(field.size()));
      out += field;
    }
    const bool mapping =
        !values_.is(Kind::tuple) && (values_.is(Kind::dict) || values_.is(Kind::list) ||
                                     values_.is(Kind::range) || values_.is(Kind::undefined));
    if (used_ < arguments_.size() && !mapping) {
      return in_.raise("not all arguments converted during string formatting");
    }
    return in_.text(out, markup_);
  }

 private:
  Eval<Value> next_argument() {
    if (used_ >= arguments_.size()) return in_.raise("not enough arguments for format string");
    return arguments_[used_++];
  }

  /// One directive; `at` is behind its percent sign.
  Eval<std::string> next_field(std::size_t& at) {
    FormatSpec spec;
    bool left = false;
    Value value;
    if (at < format_.size() && format_[at] == '(') {
      TERN_TRY(value, keyed_argument(at));
    }
    for (bool flag = true; flag && at < format_.size();) {
      switch (format_[at]) {
        case '-':
          left = true;
          break;
        case '+':
          spec.sign = '+';
          break;
        case ' ':
          if (spec.sign != '+') spec.sign = ' ';
          break;
        case '#':
          spec.alternate = true;
          break;
        case '0':
          spec.zero = true;
          break;
        default:
          flag = false;
      }
      if (flag) ++at;
    }
    TERN_TRY(std::int64_t width, read_width(at, 0));
    if (width < 0) {
      left = true;
      width = -width;
    }
    spec.width = static_cast<std::size_t>(width);
    if (at < format_.size() && format_[at] == '.') {
      ++at;
      TERN_TRY(const std::int64_t precision, read_width(at, 0));
      spec.precision = static_cast<int>(std::max<std::int64_t>(precision, 0));
    }
    while (at < format_.size() &&
           (format_[at] == 'l' || format_[at] == 'h' || format_[at] == 'L')) {
      ++at;
    }
    if (at == format_.size()) return in_.raise("incomplete format");
    spec.type = format_[at++];
    spec.align = left ? '<' : '>';
    if (spec.type == '%') return std::string("%");
    if (!value.present()) {
      TERN_TRY(value, next_argument());
    }
    return format_value(spec, left, value);
  }

  Eval<Value> keyed_argument(std::size_t& at) {
    int open = 1;
    const std::size_t begin = ++at;
    for (; at < format_.size(); ++at) {
      open += format_[at] == '(' ? 1 : format_[at] == ')' ? -1 : 0;
      if (open == 0) break;
    }
    if (at == format_.size()) return in_.raise("incomplete format key");
    const std::string_view key = format_.substr(begin, at++ - begin);
    if (!values_.is(Kind::dict)) return in_.raise("format requires a mapping");
    used_ = arguments_.size();
    const Value* value = find(*values_.dict, key);
    return value ? Eval<Value>(*value) : in_.raise("KeyError: " + quote(key));
  }

  Eval<std::int64_t> read_width(std::size_t& at, std::int64_t fallback) {
    if (at < format_.size() && format_[at] == '*') {
      ++at;
      TERN_TRY(const Value width, next_argument());
      if (!width.is(Kind::integer)) return in_.raise("* wants int");
      return std::clamp<std::int64_t>(width.integer, -std::int64_t(kMaxWidth), kMaxWidth);
    }
    const std::size_t begin = at;
    const std::size_t n = read_number(format_, at);
    return begin == at ? fallback : static_cast<std::int64_t>(n);
  }

  Eval<std::string> format_value(FormatSpec& spec, bool left, const Value& value) {
    switch (spec.type) {
      case 's':
      case 'r':
      case 'a':
        return format_text(spec, value);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        return format_whole(spec, left, value);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': {
        if (value.is(Kind::undefined)) return in_.raise_undefined(value);
        if (!value.is_number()) {
          return in_.raise("must be real number, not " + std::string(type_name(value)));
        }
        if (spec.zero && !left) zero_fill(spec);
        if (spec.precision < 0) spec.precision = 6;
        return format_real_field(in_, spec, to_double(value));
      }
      case 'c':
        if (value.is(Kind::string) && value.string->length == 1) {
          return pad_field(in_, spec, value.string->bytes, '>');
        }
        if (!value.is_integer()) return in_.raise("%c requires int or char");
        spec.precision = -1;
        return format_integer_field(in_, spec, value);
      default:
        return in_.raise(std::string("unsupported format character '") + spec.type + "'");
    }
  }

  static void zero_fill(FormatSpec& spec) {
    spec.align = '=';
    spec.fill = "0";
  }

  Eval<std::string> format_text(const FormatSpec& spec, const Value& value) {
    std::string text;
    if (spec.type == 's') {
      TERN_TRY(const std::string_view shown, markup_ ? in_.escaped(value) : in_.str(value));
      text = shown;
    } else {
      TERN_TRY(text, in_.repr(value));
      if (spec.type == 'a') text = ascii_of(text);
      if (markup_) text = escape_html(text);
    }
    std::string_view shown = text;
    if (spec.precision >= 0) {
      shown = first_code_points(shown, static_cast<std::size_t>(spec.precision));
    }
    return pad_field(in_, spec, shown, '>');
  }

  Eval<std::string> format_whole(FormatSpec& spec, bool left, const Value& value) {
    Value integer = value;
    const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
    if (value.is(Kind::undefined) && decimal) return in_.raise_undefined(value);
    if (value.is(Kind::real) && decimal) {
      const auto whole = truncate(in_.arena(), value.real);
      if (!whole) return in_.raise("cannot convert float NaN or infinity to integer");
      integer = *whole;
    } else if (!value.is_integer() && !value.is(Kind::big)) {
      return in_.raise(std::string("%") + spec.type +
                       " format: " + (decimal ? "a real number" : "an integer") +
                       " is required, not " + std::string(type_name(value)));
    }
    if (decimal) spec.type = 'd';
    const int digits = std::exchange(spec.precision, -1);
    if (digits < 0) {
      if (spec.zero && !left) zero_fill(spec);
      return format_integer_field(in_, spec, integer);
    }
    // A precision is a least number of digits.
    FormatSpec inner = spec;
    inner.width = static_cast<std::size_t>(digits);
    TERN_TRY(const std::string bare,
             format_integer_field(in_, FormatSpec{.type = spec.type}, integer));
    if (bare.starts_with('-') || spec.sign != '-') ++inner.width;
    if (spec.alternate && !decimal) inner.width += 2;
    zero_fill(inner);
    TERN_TRY(const std::string padded, format_integer_field(in_, inner, integer));
    return pad_field(in_, spec, padded, '>');
  }

  Interpreter& in_;
  std::string_view format_;
  bool markup_;
  Value values_;
  std::span<const Value> arguments_;
  std::size_t used_ = 0;
};

}  // namespace

Eval<Value> format_percent(Interpreter& in, const Value& format, const Value& values) {
  return PercentFormatter(in, format, values).run();
}

}  // namespace tern::text::jinja
