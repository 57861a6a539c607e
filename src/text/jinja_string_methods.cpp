// Methods of str.
#include <array>
#include <vector>

#include "text/jinja_format.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"
#include "text/jinja_search.h"
#include "text/jinja_strings.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

using Values = std::span<const Value>;

std::string_view bytes(const Value& v) {
  return v.string->bytes;
}
bool markup(const Value& v) {
  return v.string->markup;
}

Eval<void> want_string(Interpreter& in, const Value& v) {
  if (v.is(Kind::string)) return {};
  return in.raise("must be str, not " + std::string(type_name(v)));
}

Eval<std::int64_t> want_integer(Interpreter& in, const Value& v) {
  if (v.is_integer()) return as_int64(v);
  if (v.is(Kind::big)) return in.raise("Python int too large to convert to C ssize_t");
  return in.raise("'" + std::string(type_name(v)) + "' object cannot be interpreted as an integer");
}

/// A method that maps the whole text.
template <std::string (*map)(std::string_view)>
Eval<Value> mapped(Interpreter& in, Values args) {
  TERN_TRY_VOID(in.reserve(bytes(args[0]).size(), 3));
  TERN_TRY_VOID(in.charge(bytes(args[0]).size() / 2));
  return in.text(map(bytes(args[0])), markup(args[0]));
}

template <bool left, bool right>
Eval<Value> stripped(Interpreter& in, Values args) {
  TERN_TRY_VOID(in.charge_bytes(bytes(args[0]).size()));
  const bool given = args[1].present() && !args[1].is(Kind::none);
  std::string_view chars;
  if (given) {
    if (!args[1].is(Kind::string)) return in.raise("strip arg must be None or str");
    chars = bytes(args[1]);
    TERN_TRY_VOID(in.charge_bytes(chars.size() * 4));
  }
  const std::string_view text = strip(bytes(args[0]), left, right, given ? &chars : nullptr);
  return make_string_view(in.arena(), text, markup(args[0]));
}

Eval<Value> replace_method(Interpreter& in, Values args) {
  TERN_TRY_VOID(want_string(in, args[1]));
  TERN_TRY_VOID(want_string(in, args[2]));
  std::int64_t count = -1;
  if (args[3].present()) {
    TERN_TRY(count, want_integer(in, args[3]));
  }
  std::string_view replacement = bytes(args[2]);
  if (markup(args[0])) {
    TERN_TRY(replacement, in.escaped(args[2]));
  }
  return replace_text(in, bytes(args[0]), bytes(args[1]), replacement, count, markup(args[0]));
}

Eval<Value> split(Interpreter& in, Values args, bool from_right) {
  std::int64_t limit = -1;
  if (args[2].present()) {
    TERN_TRY(limit, want_integer(in, args[2]));
  }
  const std::size_t most = limit < 0 ? SIZE_MAX : static_cast<std::size_t>(limit);
  std::vector<std::string_view> parts;
  if (!args[1].present() || args[1].is(Kind::none)) {
    TERN_TRY_VOID(in.charge_bytes(bytes(args[0]).size()));
    parts = from_right ? rsplit_space(bytes(args[0]), most) : split_space(bytes(args[0]), most);
  } else {
    TERN_TRY_VOID(want_string(in, args[1]));
    if (bytes(args[1]).empty()) return in.raise("empty separator");
    TERN_TRY_VOID(in.charge_bytes(bytes(args[0]).size() + bytes(args[1]).size()));
    parts = from_right ? rsplit_text(bytes(args[0]), bytes(args[1]), most)
                       : split_text(bytes(args[0]), bytes(args[1]), most);
  }
  return list_of(in, parts, markup(args[0]));
}

Eval<Value> split_method(Interpreter& in, Values args) {
  return split(in, args, false);
}
Eval<Value> rsplit_method(Interpreter& in, Values args) {
  return split(in, args, true);
}

Eval<Value> splitlines(Interpreter& in, Values args) {
  const bool keep = args[1].present() && truth(args[1]);
  TERN_TRY_VOID(in.charge_bytes(bytes(args[0]).size()));
  return list_of(in, split_lines(bytes(args[0]), keep), markup(args[0]));
}

template <bool from_right>
Eval<Value> partition(Interpreter& in, Values args) {
  TERN_TRY_VOID(want_string(in, args[1]));
  const std::string_view text = bytes(args[0]);
  const std::string_view separator = bytes(args[1]);
  if (separator.empty()) return in.raise("empty separator");
  TERN_TRY_VOID(in.charge_bytes(text.size() + separator.size()));
  const std::size_t at =
      from_right ? Searcher::find_last(text, separator) : Searcher(separator).find(text);
  const auto part = [&](std::string_view piece) {
    return make_string_view(in.arena(), piece, markup(args[0]));
  };
  if (at == std::string_view::npos) {
    if (from_right) return in.tuple({part({}), part({}), part(text)});
    return in.tuple({part(text), part({}), part({})});
  }
  return in.tuple({part(text.substr(0, at)), part(text.substr(at, separator.size())),
                   part(text.substr(at + separator.size()))});
}

/// The part of the text that the arguments start and end (3rd and 4th) choose; where it begins.
struct Window {
  std::string_view text;
  std::size_t begin = 0;
  bool valid = true;  ///< false: start is behind the end, where not even "" is found
};

Eval<Window> window(Interpreter& in, Values args) {
  const auto size = static_cast<std::int64_t>(args[0].string->length);
  std::array<std::int64_t, 2> bounds = {0, size};
  for (std::size_t i = 0; i < 2; ++i) {
    const Value& v = args[2 + i];
    if (!v.present() || v.is(Kind::none)) continue;
    if (v.is(Kind::big)) {
      bounds[i] = v.big->negative ? 0 : size + 1;
      continue;
    }
    TERN_TRY(std::int64_t bound, want_integer(in, v));
    if (bound < 0) bound = std::max<std::int64_t>(bound + size, 0);
    bounds[i] = i == 1 ? std::min(bound, size) : bound;
  }
  if (bounds[0] > bounds[1]) return Window{{}, 0, false};
  const auto begin = static_cast<std::size_t>(bounds[0]);
  TERN_TRY(const Value part, in.substring(args[0], begin, static_cast<std::size_t>(bounds[1])));
  return Window{bytes(part), begin, true};
}

template <bool from_right, bool must_exist>
Eval<Value> find_method_of_string(Interpreter& in, Values args) {
  TERN_TRY_VOID(want_string(in, args[1]));
  TERN_TRY(const Window w, window(in, args));
  TERN_TRY_VOID(in.charge_bytes(w.text.size() + bytes(args[1]).size()));
  const std::size_t at = !w.valid     ? std::string_view::npos
                         : from_right ? Searcher::find_last(w.text, bytes(args[1]))
                                      : Searcher(bytes(args[1])).find(w.text);
  if (at == std::string_view::npos) {
    return must_exist ? Eval<Value>(in.raise("substring not found")) : make_int(-1);
  }
  return make_size(w.begin + count_code_points(w.text.substr(0, at)));
}

Eval<Value> count_method(Interpreter& in, Values args) {
  TERN_TRY_VOID(want_string(in, args[1]));
  TERN_TRY(const Window w, window(in, args));
  TERN_TRY_VOID(in.charge_bytes(w.text.size() + bytes(args[1]).size()));
  if (!w.valid) return make_int(0);
  if (bytes(args[1]).empty()) return make_size(count_code_points(w.text) + 1);
  const Searcher searcher(bytes(args[1]));
  std::int64_t count = 0;
  for (std::size_t at = searcher.find(w.text); at != std::string_view::npos;
       at = searcher.find(w.text, at + bytes(args[1]).size())) {
    ++count;
  }
  return make_int(count);
}

template <bool at_start>
Eval<Value> affix(Interpreter& in, Values args) {
  TERN_TRY(const Window w, window(in, args));
  const auto matches = [&](std::string_view text) {
    return w.valid && (at_start ? w.text.starts_with(text) : w.text.ends_with(text));
  };
  if (args[1].is(Kind::string)) return make_bool(matches(bytes(args[1])));
  const std::string_view name = at_start ? "startswith" : "endswith";
  if (!args[1].is(Kind::tuple)) {
    return in.raise(std::string(name) + " first arg must be str or a tuple of str, not " +
                    std::string(type_name(args[1])));
  }
  for (const Value& text : args[1].sequence->items) {
    if (!text.is(Kind::string)) {
      return in.raise("tuple for " + std::string(name) + " must only contain str, not " +
                      std::string(type_name(text)));
    }
    TERN_TRY_VOID(in.charge_bytes(bytes(text).size() / 8));
    if (matches(bytes(text))) return make_bool(true);
  }
  return make_bool(false);
}

template <bool prefix>
Eval<Value> remove_affix(Interpreter& in, Values args) {
  TERN_TRY_VOID(want_string(in, args[1]));
  std::string_view text = bytes(args[0]);
  const std::string_view part = bytes(args[1]);
  if (prefix && text.starts_with(part)) text.remove_prefix(part.size());
  if (!prefix && text.ends_with(part)) text.remove_suffix(part.size());
  return make_string_view(in.arena(), text, markup(args[0]));
}

/// All characters satisfy the predicate, and there is one.
template <bool (*predicate)(char32_t)>
Eval<Value> all_are(Interpreter& in, Values args) {
  const std::string_view text = bytes(args[0]);
  TERN_TRY_VOID(in.charge_bytes(text.size()));
  for (std::size_t at = 0; at < text.size();) {
    if (!predicate(decode(text, at))) return make_bool(false);
  }
  return make_bool(!text.empty());
}

Eval<Value> isascii(Interpreter&, Values args) {
  return make_bool(args[0].string->ascii());
}

Eval<Value> isprintable(Interpreter& in, Values args) {
  if (bytes(args[0]).empty()) return make_bool(true);
  return all_are<is_printable>(in, args);
}

Eval<Value> isidentifier(Interpreter& in, Values args) {
  TERN_TRY_VOID(in.charge_bytes(bytes(args[0]).size()));
  return make_bool(is_identifier(bytes(args[0])));
}

template <bool (*wanted)(char32_t), bool (*other)(char32_t)>
Eval<Value> case_is(Interpreter& in, Values args) {
  const std::string_view text = bytes(args[0]);
  TERN_TRY_VOID(in.charge_bytes(text.size()));
  bool found = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = decode(text, at);
    if (other(c) || is_title(c)) return make_bool(false);
    found = found || wanted(c);
  }
  return make_bool(found);
}

Eval<Value> istitle(Interpreter& in, Values args) {
  const std::string_view text = bytes(args[0]);
  TERN_TRY_VOID(in.charge_bytes(text.size()));
  bool after_cased = false;
  bool found = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = decode(text, at);
    const bool up = is_upper(c) || is_title(c);
    if (up ? after_cased : is_lower(c) && !after_cased) return make_bool(false);
    after_cased = up || is_lower(c);
    found = found || after_cased;
  }
  return make_bool(found);
}

enum class Side : std::uint8_t { left, right, both };

template <Side side>
Eval<Value> justified(Interpreter& in, Values args) {
  TERN_TRY(const std::int64_t width, want_integer(in, args[1]));
  std::string_view fill = " ";
  if (args[2].present()) {
    TERN_TRY_VOID(want_string(in, args[2]));
    if (args[2].string->length != 1) {
      return in.raise("The fill character must be exactly one character long");
    }
    fill = bytes(args[2]);
  }
  const auto size = static_cast<std::int64_t>(args[0].string->length);
  if (width <= size) return args[0];
  const auto total = static_cast<std::size_t>(width - size);
  // Python's str.center puts the odd one to the left when the width is odd.
  const std::size_t left = side == Side::left ? 0
                           : side == Side::right
                               ? total
                               : total / 2 + (total & static_cast<std::size_t>(width) & 1);
  return pad_text(in, bytes(args[0]), left, total - left, fill, markup(args[0]));
}

Eval<Value> zfill(Interpreter& in, Values args) {
  TERN_TRY(const std::int64_t width, want_integer(in, args[1]));
  const auto size = static_cast<std::int64_t>(args[0].string->length);
  if (width <= size) return args[0];
  std::string_view text = bytes(args[0]);
  const bool sign = text.starts_with('-') || text.starts_with('+');
  const auto zeros = static_cast<std::size_t>(width - size);
  TERN_TRY_VOID(in.reserve(zeros, 2));
  std::string out(text.substr(0, sign ? 1 : 0));
  out.append(zeros, '0').append(text.substr(sign ? 1 : 0));
  return in.text(out, markup(args[0]));
}

Eval<Value> expandtabs(Interpreter& in, Values args) {
  std::int64_t tab = 8;
  if (args[1].present()) {
    TERN_TRY(tab, want_integer(in, args[1]));
  }
  std::string out;
  std::int64_t column = 0;
  const std::string_view text = bytes(args[0]);
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = decode(text, at);
    if (c == U'\t') {
      const std::int64_t spaces = tab > 0 ? tab - column % tab : 0;
      TERN_TRY_VOID(in.reserve(out.size() + static_cast<std::size_t>(spaces), 2));
      out.append(static_cast<std::size_t>(spaces), ' ');
      column += spaces;
    } else {
      append_utf8(out, c);
      column = c == U'\n' || c == U'\r' ? 0 : column + 1;
    }
  }
  return in.text(out, markup(args[0]));
}

Eval<Value> join_method(Interpreter& in, Values args) {
  TERN_TRY(const std::span<const Value> items, in.iterate(args[1]));
  std::vector<std::string_view> parts;
  TERN_TRY_VOID(in.reserve(items.size(), sizeof(std::string_view)));
  parts.reserve(items.size());
  for (const Value& item : items) {
    if (markup(args[0])) {
      TERN_TRY(const std::string_view part, in.escaped(item));
      parts.push_back(part);
      continue;
    }
    if (!item.is(Kind::string)) {
      return in.raise("sequence item " + std::to_string(parts.size()) +
                      ": expected str instance, " + std::string(type_name(item)) + " found");
    }
    parts.push_back(bytes(item));
  }
  return join_text(in, parts, bytes(args[0]), markup(args[0]));
}

Eval<Value> format_method(Interpreter& in, const Value& self, const Args& args) {
  return format_braces(in, self, args);
}

using Names = std::array<std::string_view, 4>;
constexpr std::array<std::string_view, 1> kSelf = {"/self"};
constexpr std::array<std::string_view, 2> kChars = {"/self", "/chars"};
constexpr Names kReplace = {"/self", "/old", "/new", "/count"};
constexpr std::array<std::string_view, 3> kSplit = {"/self", "sep", "maxsplit"};
constexpr std::array<std::string_view, 2> kKeepEnds = {"/self", "keepends"};
constexpr Names kFind = {"/self", "/sub", "/start", "/end"};
constexpr std::array<std::string_view, 3> kJustify = {"/self", "/width", "/fillchar"};
constexpr std::array<std::string_view, 2> kTab = {"/self", "tabsize"};

constexpr std::array<Native, 44> kMethods = {{
    {.name = "upper", .parameters = kSelf, .required = 1, .function = mapped<upper>},
    {.name = "lower", .parameters = kSelf, .required = 1, .function = mapped<lower>},
    {.name = "casefold", .parameters = kSelf, .required = 1, .function = mapped<casefold>},
    {.name = "title", .parameters = kSelf, .required = 1, .function = mapped<title>},
    {.name = "capitalize", .parameters = kSelf, .required = 1, .function = mapped<capitalize>},
    {.name = "swapcase", .parameters = kSelf, .required = 1, .function = mapped<swapcase>},
    {.name = "strip", .parameters = kChars, .required = 1, .function = stripped<true, true>},
    {.name = "lstrip", .parameters = kChars, .required = 1, .function = stripped<true, false>},
    {.name = "rstrip", .parameters = kChars, .required = 1, .function = stripped<false, true>},
    {.name = "replace", .parameters = kReplace, .required = 3, .function = replace_method},
    {.name = "split", .parameters = kSplit, .required = 1, .function = split_method},
    {.name = "rsplit", .parameters = kSplit, .required = 1, .function = rsplit_method},
    {.name = "splitlines", .parameters = kKeepEnds, .required = 1, .function = splitlines},
    {.name = "partition", .parameters = kChars, .required = 2, .function = partition<false>},
    {.name = "rpartition", .parameters = kChars, .required = 2, .function = partition<true>},
    {.name = "find",
     .parameters = kFind,
     .required = 2,
     .function = find_method_of_string<false, false>},
    {.name = "rfind",
     .parameters = kFind,
     .required = 2,
     .function = find_method_of_string<true, false>},
    {.name = "index",
     .parameters = kFind,
     .required = 2,
     .function = find_method_of_string<false, true>},
    {.name = "rindex",
     .parameters = kFind,
     .required = 2,
     .function = find_method_of_string<true, true>},
    {.name = "count", .parameters = kFind, .required = 2, .function = count_method},
    {.name = "startswith", .parameters = kFind, .required = 2, .function = affix<true>},
    {.name = "endswith", .parameters = kFind, .required = 2, .function = affix<false>},
    {.name = "removeprefix", .parameters = kChars, .required = 2, .function = remove_affix<true>},
    {.name = "removesuffix", .parameters = kChars, .required = 2, .function = remove_affix<false>},
    {.name = "isalpha", .parameters = kSelf, .required = 1, .function = all_are<is_alpha>},
    {.name = "isalnum", .parameters = kSelf, .required = 1, .function = all_are<is_alnum>},
    {.name = "isdigit", .parameters = kSelf, .required = 1, .function = all_are<is_digit>},
    {.name = "isdecimal", .parameters = kSelf, .required = 1, .function = all_are<is_decimal>},
    {.name = "isnumeric", .parameters = kSelf, .required = 1, .function = all_are<is_numeric>},
    {.name = "isspace", .parameters = kSelf, .required = 1, .function = all_are<is_space>},
    {.name = "isascii", .parameters = kSelf, .required = 1, .function = isascii},
    {.name = "isprintable", .parameters = kSelf, .required = 1, .function = isprintable},
    {.name = "isidentifier", .parameters = kSelf, .required = 1, .function = isidentifier},
    {.name = "islower",
     .parameters = kSelf,
     .required = 1,
     .function = case_is<is_lower, is_upper>},
    {.name = "isupper",
     .parameters = kSelf,
     .required = 1,
     .function = case_is<is_upper, is_lower>},
    {.name = "istitle", .parameters = kSelf, .required = 1, .function = istitle},
    {.name = "ljust", .parameters = kJustify, .required = 2, .function = justified<Side::left>},
    {.name = "rjust", .parameters = kJustify, .required = 2, .function = justified<Side::right>},
    {.name = "center", .parameters = kJustify, .required = 2, .function = justified<Side::both>},
    {.name = "zfill", .parameters = kChars, .required = 2, .function = zfill},
    {.name = "expandtabs", .parameters = kTab, .required = 1, .function = expandtabs},
    {.name = "join", .parameters = kChars, .required = 2, .function = join_method},
    {.name = "format", .variadic = format_method},
    {.name = "format_map", .variadic = format_method},
}};

}  // namespace

const Native* find_string_method(std::string_view name) {
  return find_native(kMethods, name);
}

}  // namespace tern::text::jinja
