// Filters on text.
#include <array>
#include <vector>

#include "text/jinja_format.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"
#include "text/jinja_strings.h"
#include "text/jinja_text.h"
#include "text/jinja_wrap.h"

namespace tern::text::jinja {

namespace {

using Values = std::span<const Value>;

Eval<std::int64_t> integer_or(Interpreter& in, const Value& v, std::int64_t fallback) {
  if (!v.present()) return fallback;
  if (v.is_integer()) return as_int64(v);
  return in.raise("'" + std::string(type_name(v)) + "' object cannot be interpreted as an integer");
}

/// What a str method of the same name does to soft_str(value).
template <std::string (*map)(std::string_view)>
Eval<Value> mapped(Interpreter& in, Values args) {
  TERN_TRY(const Value text, in.soft_str(args[0]));
  TERN_TRY_VOID(in.reserve(text.string->bytes.size(), 3));
  TERN_TRY_VOID(in.charge(text.string->bytes.size() / 2));
  return in.text(map(text.string->bytes), text.string->markup);
}

/// Upper case after white space, "-" and opening brackets; unlike str.title.
std::string title_filter(std::string_view text) {
  std::string out;
  const auto separates = [](char32_t c) {
    return is_space(c) || c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<';
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (separates(decode(text, at))) {
      out += text.substr(begin, at - begin);
      continue;
    }
    const std::size_t first_end = at;
    while (at < text.size()) {
      std::size_t next = at;
      if (separates(decode(text, next))) break;
      at = next;
    }
    out += upper(text.substr(begin, first_end - begin));
    out += lower(text.substr(first_end, at - first_end));
  }
  return out;
}

Eval<Value> center(Interpreter& in, Values args) {
  TERN_TRY(const Value text, in.soft_str(args[0]));
  TERN_TRY(const std::int64_t width, integer_or(in, args[1], 80));
  const Value arguments[] = {make_int(width)};
  return in.call_native(*find_string_method("center"), text, {arguments, {}});
}

Eval<Value> escape(Interpreter& in, Values args) {
  TERN_TRY(const std::string_view text, in.escaped(args[0]));
  return make_string_view(in.arena(), text, true);
}

Eval<Value> force_escape(Interpreter& in, Values args) {
  TERN_TRY(const std::string_view text, in.str(args[0]));
  TERN_TRY_VOID(in.reserve(text.size(), 6));
  return in.text(escape_html(text), true);
}

Eval<Value> safe(Interpreter& in, Values args) {
  TERN_TRY(const std::string_view text, in.str(args[0]));
  return make_string_view(in.arena(), text, true);
}

Eval<Value> string_filter(Interpreter& in, Values args) {
  return in.soft_str(args[0]);
}

Eval<Value> format_filter(Interpreter& in, const Value& self, const Args& args) {
  TERN_TRY(const Value text, in.soft_str(self));
  if (args.named.empty()) {
    return format_percent(in, text, in.list(args.positional, Kind::tuple));
  }
  if (!args.positional.empty()) {
    return in.raise("can't handle positional and keyword arguments at the same time");
  }
  std::vector<Entry> entries;
  for (const Attribute& named : args.named) {
    TERN_TRY(const Value key, in.text(named.name));
    entries.push_back({key, named.value});
  }
  TERN_TRY(const Value values, in.dict(entries));
  return format_percent(in, text, values);
}

Eval<Value> indent(Interpreter& in, Values args) {
  if (args[0].is(Kind::undefined)) return in.raise_undefined(args[0]);
  if (!args[0].is(Kind::string)) {
    return in.raise("unsupported operand type(s) for +=: '" + std::string(type_name(args[0])) +
                    "' and 'str'");
  }
  std::string indention(4, ' ');
  if (args[1].is(Kind::string)) {
    indention = args[1].string->bytes;
  } else {
    TERN_TRY(const std::int64_t width, integer_or(in, args[1], 4));
    const auto size = static_cast<std::size_t>(std::max<std::int64_t>(width, 0));
    TERN_TRY_VOID(in.reserve(size));
    indention.assign(size, ' ');
  }
  const bool first = args[2].present() && truth(args[2]);
  const bool blank = args[3].present() && truth(args[3]);
  const std::string_view text = args[0].string->bytes;
  TERN_TRY_VOID(in.charge_bytes(text.size()));
  const std::string ended = std::string(text) + "\n";
  const std::vector<std::string_view> lines = split_lines(ended, false);
  TERN_TRY_VOID(in.reserve(text.size()));
  TERN_TRY_VOID(in.reserve(lines.size(), indention.size() + 1));
  std::string out = first ? indention : "";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !lines[i].empty())) out += indention;
    out += lines[i];
  }
  return in.text(out, args[0].string->markup);
}

Eval<Value> replace(Interpreter& in, Values args) {
  TERN_TRY(const std::string_view text, in.str(args[0]));
  TERN_TRY(const std::string_view old, in.str(args[1]));
  TERN_TRY(const std::string_view replacement, in.str(args[2]));
  std::int64_t count = -1;
  if (!args[3].is(Kind::none)) {
    TERN_TRY(count, integer_or(in, args[3], -1));
  }
  return replace_text(in, text, old, replacement, count, false);
}

Eval<Value> striptags(Interpreter& in, Values args) {
  TERN_TRY(const std::string_view text, in.str(args[0]));
  TERN_TRY_VOID(in.charge_bytes(4 * text.size()));
  return in.text(strip_tags(text));
}

Eval<Value> trim(Interpreter& in, Values args) {
  TERN_TRY(const Value text, in.soft_str(args[0]));
  const std::span<const Value> chars = args.subspan(1, args[1].present() ? 1 : 0);
  return in.call_native(*find_string_method("strip"), text, {chars, {}});
}

Eval<Value> truncate_filter(Interpreter& in, Values args) {
  TERN_TRY(const std::int64_t length, integer_or(in, args[1], 255));
  const bool kill_words = args[2].present() && truth(args[2]);
  TERN_TRY(const Value dots, in.text("..."));
  const Value end = args[3].present() ? args[3] : dots;
  const Value leeway_argument = args[4].is(Kind::none) ? Value{} : args[4];
  TERN_TRY(const std::int64_t leeway, integer_or(in, leeway_argument, 5));
  TERN_TRY(const std::int64_t end_length, in.length(end));
  if (length < end_length) {
    return in.raise("expected length >= " + std::to_string(end_length) + ", got " +
                    std::to_string(length));
  }
  if (leeway < 0) return in.raise("expected leeway >= 0, got " + std::to_string(leeway));
  TERN_TRY(const std::int64_t size, in.length(args[0]));
  if (size - leeway <= length) return args[0];
  if (!args[0].is(Kind::string) || !end.is(Kind::string)) {
    return in.raise("truncate works on strings");
  }
  TERN_TRY(const Value cut,
           in.substring(args[0], 0, static_cast<std::size_t>(length - end_length)));
  std::string_view kept = cut.string->bytes;
  if (!kill_words) kept = kept.substr(0, std::min(kept.rfind(' '), kept.size()));
  return in.text(std::string(kept).append(end.string->bytes), args[0].string->markup);
}

std::string quote_url(std::string_view text, bool for_query) {
  std::string out;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || (c >= '0' && c <= '9') ||
        std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !for_query)) {
      out += c;
    } else if (c == ' ' && for_query) {
      out += '+';
    } else {
      constexpr std::string_view kHex = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

Eval<Value> urlencode(Interpreter& in, Values args) {
  const Value& v = args[0];
  if (v.is(Kind::string) || !in.iterable(v)) {
    TERN_TRY(const std::string_view text, in.str(v));
    TERN_TRY_VOID(in.reserve(text.size(), 3));
    return in.text(quote_url(text, false));
  }
  Value pairs = v;
  if (v.is(Kind::dict)) {
    TERN_TRY(pairs, in.call_native(*find_method(v, "items"), v, {}));
  }
  TERN_TRY(const std::span<const Value> items, in.iterate(pairs));
  std::string out;
  for (const Value& item : items) {
    TERN_TRY(const std::span<const Value> pair, in.iterate(item));
    if (pair.size() != 2) return in.raise("not enough values to unpack (expected 2)");
    TERN_TRY(const std::string_view key, in.str(pair[0]));
    TERN_TRY(const std::string_view value, in.str(pair[1]));
    TERN_TRY_VOID(in.reserve(out.size() + 3 * (key.size() + value.size())));
    TERN_TRY_VOID(in.charge_bytes(key.size() + value.size()));
    if (!out.empty()) out += '&';
    out += quote_url(key, true) + "=" + quote_url(value, true);
  }
  return in.text(out);
}

Eval<Value> wordcount(Interpreter& in, Values args) {
  TERN_TRY(const std::string_view text, in.str(args[0]));
  TERN_TRY_VOID(in.charge_bytes(text.size()));
  std::int64_t words = 0;
  bool inside = false;
  for (std::size_t at = 0; at < text.size();) {
    const bool word = is_word(decode(text, at));
    words += std::int64_t(word && !inside);
    inside = word;
  }
  return make_int(words);
}

Eval<Value> wordwrap(Interpreter& in, Values args) {
  if (!args[0].is(Kind::string)) return in.raise("wordwrap works on strings");
  WrapStyle style;
  TERN_TRY(const std::int64_t width, integer_or(in, args[1], 79));
  if (width <= 0) return in.raise("invalid width " + std::to_string(width) + " (must be > 0)");
  style.width = static_cast<std::size_t>(width);
  style.break_long_words = !args[2].present() || truth(args[2]);
  style.break_on_hyphens = !args[4].present() || truth(args[4]);
  std::string_view separator = "\n";
  if (args[3].is(Kind::string)) separator = args[3].string->bytes;
  TERN_TRY_VOID(in.charge_bytes(8 * args[0].string->bytes.size()));
  std::vector<std::string> lines;
  for (const std::string_view line : split_lines(args[0].string->bytes, false)) {
    const std::vector<std::string> wrapped = wrap_line(line, style);
    std::string joined;
    for (std::size_t i = 0; i < wrapped.size(); ++i) {
      TERN_TRY_VOID(in.charge_bytes(separator.size()));
      joined.append(i > 0 ? separator : "").append(wrapped[i]);
    }
    lines.push_back(std::move(joined));
  }
  const std::vector<std::string_view> views(lines.begin(), lines.end());
  return join_text(in, views, separator, false);
}

constexpr std::array<std::string_view, 1> kS = {"s"};
constexpr std::array<std::string_view, 1> kValue = {"value"};
constexpr std::array<std::string_view, 1> kOnly = {"/s"};
constexpr std::array<std::string_view, 2> kCenter = {"value", "width"};
constexpr std::array<std::string_view, 4> kIndent = {"s", "width", "first", "blank"};
constexpr std::array<std::string_view, 4> kReplace = {"s", "old", "new", "count"};
constexpr std::array<std::string_view, 2> kTrim = {"value", "chars"};
constexpr std::array<std::string_view, 5> kTruncate = {"s", "length", "killwords", "end", "leeway"};
constexpr std::array<std::string_view, 5> kWrap = {"s", "width", "break_long_words", "wrapstring",
                                                   "break_on_hyphens"};

constexpr std::array<Native, 19> kFilters = {{
    {.name = "capitalize", .parameters = kS, .required = 1, .function = mapped<capitalize>},
    {.name = "center", .parameters = kCenter, .required = 1, .function = center},
    {.name = "e", .parameters = kOnly, .required = 1, .function = escape},
    {.name = "escape", .parameters = kOnly, .required = 1, .function = escape},
    {.name = "forceescape", .parameters = kValue, .required = 1, .function = force_escape},
    {.name = "format", .variadic = format_filter},
    {.name = "indent", .parameters = kIndent, .required = 1, .function = indent},
    {.name = "lower", .parameters = kS, .required = 1, .function = mapped<lower>},
    {.name = "replace", .parameters = kReplace, .required = 3, .function = replace},
    {.name = "safe", .parameters = kValue, .required = 1, .function = safe},
    {.name = "string", .parameters = kOnly, .required = 1, .function = string_filter},
    {.name = "striptags", .parameters = kValue, .required = 1, .function = striptags},
    {.name = "title", .parameters = kS, .required = 1, .function = mapped<title_filter>},
    {.name = "trim", .parameters = kTrim, .required = 1, .function = trim},
    {.name = "truncate", .parameters = kTruncate, .required = 1, .function = truncate_filter},
    {.name = "upper", .parameters = kS, .required = 1, .function = mapped<upper>},
    {.name = "urlencode", .parameters = kValue, .required = 1, .function = urlencode},
    {.name = "wordcount", .parameters = kS, .required = 1, .function = wordcount},
    {.name = "wordwrap", .parameters = kWrap, .required = 1, .function = wordwrap},
}};

}  // namespace

const Native* find_text_filter(std::string_view name) {
  return find_native(kFilters, name);
}

}  // namespace tern::text::jinja
