// str.format: replacement fields, conversions and format specifications.
#include <algorithm>

#include "text/jinja_format.h"
#include "text/jinja_format_number.h"
#include "text/jinja_number.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

constexpr std::size_t kMaxWidth = 1u << 30;
constexpr int kMaxSpecDepth = 2;

bool is_align(char c) {
  return c == '<' || c == '>' || c == '^' || c == '=';
}

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& in, const Args& args) : in_(in), args_(args) {}

  /// Text with its fields replaced; specifications may hold fields themselves.
  Eval<std::string> expand(std::string_view format, int depth) {
    if (depth > kMaxSpecDepth) return in_.raise("Max string recursion exceeded");
    TERN_TRY_VOID(in_.charge_bytes(format.size()));
    std::string out;
    for (std::size_t at = 0; at < format.size();) {
      const char c = format[at];
      const char next = at + 1 < format.size() ? format[at + 1] : '\0';
      if (c == '}' && next != '}') {
        return in_.raise("Single '}' encountered in format string");
      }
      if (c != '{' && c != '}') {
        out += c;
        ++at;
      } else if (next == c) {
        out += c;
        at += 2;
      } else {
        TERN_TRY(const std::string field, replace(format, at, depth));
        TERN_TRY_VOID(in_.reserve(out.size() + field.size()));
        TERN_TRY_VOID(in_.charge_bytes(field.size()));
        out += field;
      }
    }
    return out;
  }

 private:
  /// The field that begins at `at`, which moves behind it.
  Eval<std::string> replace(std::string_view format, std::size_t& at, int depth) {
    const std::size_t begin = at + 1;
    std::size_t end = begin;
    int open = 1;
    bool in_brackets = false;
    for (; end < format.size(); ++end) {
      const char c = format[end];
      if (c == '[' || c == ']') in_brackets = c == '[';
      if (in_brackets) continue;  // braces are part of the key
      if (c == '{') ++open;
      if (c == '}' && --open == 0) break;
    }
    if (end == format.size()) return in_.raise("expected '}' before end of string");
    at = end + 1;
    const std::string_view field = format.substr(begin, end - begin);
    const std::size_t name_end = field_name_end(field);
    std::string_view rest = field.substr(name_end);
    char conversion = '\0';
    if (rest.starts_with('!')) {
      if (rest.size() < 2) return in_.raise("end of string while looking for conversion specifier");
      conversion = rest[1];
      rest.remove_prefix(2);
      if (!rest.empty() && rest[0] != ':') {
        return in_.raise("expected ':' after conversion specifier");
      }
    }
    TERN_TRY(Value value, look_up(field.substr(0, name_end)));
    TERN_TRY(const std::string spec, expand(rest.empty() ? rest : rest.substr(1), depth + 1));
    if (conversion == 's') {
      TERN_TRY(value, in_.soft_str(value));
    } else if (conversion == 'r' || conversion == 'a') {
      TERN_TRY(const std::string shown, in_.repr(value));
      TERN_TRY(value, in_.text(shown));
    } else if (conversion != '\0') {
      return in_.raise(std::string("Unknown conversion specifier ") + conversion);
    }
    return format_value(value, spec);
  }

  static std::size_t field_name_end(std::string_view field) {
    bool bracket = false;
    for (std::size_t i = 0; i < field.size(); ++i) {
      if (field[i] == '[') bracket = true;
      if (field[i] == ']') bracket = false;
      if (!bracket && (field[i] == '!' || field[i] == ':')) return i;
    }
    return field.size();
  }

  static bool is_number(std::string_view text) {
    return !text.empty() && text.size() < 10 &&
           std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  }

  Eval<Value> look_up(std::string_view path) {
    const std::size_t first_end = std::min(path.find_first_of(".["), path.size());
    const std::string_view first = path.substr(0, first_end);
    TERN_TRY(Value value, argument(first));
    for (std::size_t at = first_end; at < path.size();) {
      if (path[at] == '.') {
        const std::size_t end = std::min(path.find_first_of(".[", at + 1), path.size());
        const std::string_view name = path.substr(at + 1, end - at - 1);
        if (name.empty()) return in_.raise("Empty attribute in format string");
        TERN_TRY(value, in_.attribute(value, name));
        at = end;
      } else if (path[at] == '[') {
        const std::size_t end = path.find(']', at);
        if (end == std::string_view::npos) return in_.raise("Missing ']' in format string");
        const std::string_view key = path.substr(at + 1, end - at - 1);
        if (key.empty()) return in_.raise("Empty attribute in format string");
        TERN_TRY(const Value name, in_.text(key));
        TERN_TRY(value, in_.item(value, is_number(key) ? make_size(number_of(key)) : name));
        at = end + 1;
      } else {
        return in_.raise("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  static std::size_t number_of(std::string_view digits) {
    std::size_t n = 0;
    for (const char c : digits) n = n * 10 + static_cast<std::size_t>(c - '0');
    return n;
  }

  Eval<Value> argument(std::string_view name) {
    const bool automatic = name.empty();
    if (automatic || is_number(name)) {
      const int numbering = automatic ? 1 : 2;
      if (numbering_ != 0 && numbering_ != numbering) {
        return in_.raise(
            "cannot switch between manual field specification and automatic field "
            "numbering");
      }
      numbering_ = numbering;
      const std::size_t index = automatic ? next_++ : number_of(name);
      if (index >= args_.positional.size()) {
        return in_.raise("Replacement index " + std::to_string(index) +
                         " out of range for positional args tuple");
      }
      return args_.positional[index];
    }
    const auto at = std::ranges::find(args_.named, name, &Attribute::name);
    if (at == args_.named.end()) return in_.raise("KeyError: " + quote(name));
    return at->value;
  }

  Eval<FormatSpec> parse_spec(std::string_view text) {
    FormatSpec spec;
    std::size_t at = 0;
    std::size_t second = 0;
    if (!text.empty()) decode(text, second);
    if (second > 0 && second < text.size() && is_align(text[second])) {
      spec.fill = text.substr(0, second);
      spec.align = text[second];
      at = second + 1;
    } else if (!text.empty() && is_align(text[0])) {
      spec.align = text[at++];
    }
    const auto peek = [&] { return at < text.size() ? text[at] : '\0'; };
    if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = text[at++];
    if (peek() == '#') {
      spec.alternate = true;
      ++at;
    }
    if (peek() == '0') {
      ++at;
      spec.zero = true;
      if (spec.align == '\0') {
        spec.fill = "0";
        spec.align = '=';
      }
    }
    spec.width = read_number(text, at);
    if (peek() == ',' || peek() == '_') spec.grouping = text[at++];
    if (peek() == '.') {
      const std::size_t begin = ++at;
      spec.precision = static_cast<int>(read_number(text, at));
      if (begin == at) return in_.raise("Format specifier missing precision");
    }
    if (at < text.size()) spec.type = text[at++];
    if (at < text.size()) return in_.raise("Invalid format specifier");
    return spec;
  }

  static std::size_t read_number(std::string_view text, std::size_t& at) {
    std::size_t n = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      n = std::min(n * 10 + static_cast<std::size_t>(text[at] - '0'), kMaxWidth);
    }
    return n;
  }

  Eval<std::string> format_value(const Value& value, std::string_view text) {
    if (text.empty()) {
      TERN_TRY(const std::string_view shown, in_.str(value));
      return std::string(shown);
    }
    TERN_TRY(FormatSpec spec, parse_spec(text));
    const std::string type = "unknown format code '" + std::string(1, spec.type) +
                             "' for object of type '" + std::string(type_name(value)) + "'";
    if (value.is(Kind::string)) {
      if (spec.type != '\0' && spec.type != 's') return in_.raise(type);
      if (spec.align == '=' && !spec.zero) {
        return in_.raise("'=' alignment not allowed in string format specifier");
      }
      if (spec.align == '=') spec.align = '<';
      std::string_view shown = value.string->bytes;
      std::size_t end = 0;
      for (int i = 0; i < spec.precision && end < shown.size(); ++i) decode(shown, end);
      if (spec.precision >= 0) shown = shown.substr(0, end);
      return pad_field(in_, spec, shown, '<');
    }
    if (!value.is_number()) {
      return in_.raise("unsupported format string passed to " + std::string(type_name(value)) +
                       ".__format__");
    }
    constexpr std::string_view kReal = "eEfFgG%";
    constexpr std::string_view kWhole = "bcdoxXn";
    const bool real = kReal.find(spec.type) != std::string_view::npos && spec.type != '\0';
    if (value.is(Kind::real) || real) {
      if (!real && spec.type != '\0' && spec.type != 'n') return in_.raise(type);
      return format_real_field(in_, spec, to_double(value));
    }
    if (spec.type != '\0' && kWhole.find(spec.type) == std::string_view::npos) {
      return in_.raise(type);
    }
    if (spec.type == 'n' || spec.type == '\0') spec.type = 'd';
    return format_integer_field(in_, spec, value);
  }

  Interpreter& in_;
  const Args& args_;
  std::size_t next_ = 0;
  int numbering_ = 0;  ///< 1: automatic, 2: by number
};

}  // namespace

Eval<Value> format_braces(Interpreter& in, const Value& format, const Args& args) {
  TERN_TRY(const std::string out, BraceFormatter(in, args).expand(format.string->bytes, 0));
  return in.text(out, format.string->markup);
}

}  // namespace tern::text::jinja
