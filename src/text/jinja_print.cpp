#include "text/jinja_print.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "text/jinja_natives.h"
#include "text/jinja_number.h"
#include "text/jinja_sort.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

std::string quote(std::string_view text) {
  const bool doubled =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char mark = doubled ? '"' : '\'';
  std::string out(1, mark);
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = decode(text, at);
    if (c == U'\\' || c == static_cast<char32_t>(mark)) {
      out += '\\';
      append_utf8(out, c);
    } else if (c == U'\n' || c == U'\r' || c == U'\t') {
      out += c == U'\n' ? "\\n" : c == U'\r' ? "\\r" : "\\t";
    } else if (c >= 0x20 && c < 0x7f) {
      out += static_cast<char>(c);
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else {
      std::array<char, 12> hex{};
      std::snprintf(hex.data(), hex.size(),
                    c < 0x100     ? "\\x%02x"
                    : c < 0x10000 ? "\\u%04x"
                                  : "\\U%08x",
                    static_cast<unsigned>(c));
      out += hex.data();
    }
  }
  return out + mark;
}

Eval<std::string_view> Interpreter::str(const Value& value) {
  if (value.is(Kind::string)) return value.string->bytes;
  if (value.is(Kind::undefined)) return std::string_view{};
  std::string out;
  TERN_TRY_VOID(append_text(out, value, false));
  TERN_TRY_VOID(reserve(out.size()));
  return arena_.copy(out);
}

Eval<Value> Interpreter::soft_str(const Value& value) {
  if (value.is(Kind::string)) return value;
  TERN_TRY(const std::string_view bytes, str(value));
  return make_string_view(arena_, bytes);
}

Eval<std::string> Interpreter::repr(const Value& value) {
  std::string out;
  TERN_TRY_VOID(append_text(out, value, true));
  return out;
}

Eval<std::string_view> Interpreter::escaped(const Value& value) {
  TERN_TRY(const std::string_view bytes, str(value));
  if (value.is(Kind::string) && value.string->markup) return bytes;
  TERN_TRY_VOID(reserve(bytes.size(), 6));
  return arena_.copy(escape_html(bytes));
}

/// str(value), or repr(value) if `quoted`.
Eval<void> Interpreter::append_text(std::string& out, const Value& value, bool quoted) {
  const Nested nested(*this);
  TERN_TRY_VOID(enter());
  TERN_TRY_VOID(charge(2));
  switch (value.kind) {
    case Kind::absent:
    case Kind::undefined:
      if (quoted) out += "Undefined";
      return {};
    case Kind::none:
      out += "None";
      return {};
    case Kind::boolean:
      out += value.boolean ? "True" : "False";
      return {};
    case Kind::integer:
      out += format_integer(value);
      return {};
    case Kind::big: {
      TERN_TRY_VOID(charge(value.big->limbs.size()));
      const std::string digits = format_integer(value);
      if (digits.size() > 4300) {
        return raise("Exceeds the limit (4300 digits) for integer string conversion");
      }
      out += digits;
      return {};
    }
    case Kind::real:
      out += format_double(value.real);
      return {};
    case Kind::string: {
      TERN_TRY_VOID(charge_bytes(value.string->bytes.size()));
      if (!quoted) {
        out += value.string->bytes;
      } else {
        const std::string quotes = quote(value.string->bytes);
        out += value.string->markup ? "Markup(" + quotes + ")" : quotes;
      }
      return {};
    }
    default:
      return append_container(out, value);
  }
}

Eval<void> Interpreter::append_items(std::string& out, std::span<const Value> items) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    TERN_TRY_VOID(append_text(out, items[i], true));
  }
  return {};
}

Eval<void> Interpreter::append_dict(std::string& out, const Dict& dict) {
  out += '{';
  for (std::size_t i = 0; i < dict.entries.size(); ++i) {
    if (i > 0) out += ", ";
    TERN_TRY_VOID(append_text(out, dict.entries[i].key, true));
    out += ": ";
    TERN_TRY_VOID(append_text(out, dict.entries[i].value, true));
  }
  out += '}';
  return {};
}

Eval<void> Interpreter::append_container(std::string& out, const Value& value) {
  switch (value.kind) {
    case Kind::list:
    case Kind::tuple: {
      const bool is_tuple = value.is(Kind::tuple);
      out += is_tuple ? '(' : '[';
      TERN_TRY_VOID(append_items(out, value.sequence->items));
      if (is_tuple && value.sequence->items.size() == 1) out += ',';
      out += is_tuple ? ')' : ']';
      return {};
    }
    case Kind::dict:
      return append_dict(out, *value.dict);
    case Kind::dict_view: {
      out += std::string(type_name(value)) + "([";
      TERN_TRY(const std::span<const Value> items, iterate(value));
      TERN_TRY_VOID(append_items(out, items));
      out += "])";
      return {};
    }
    case Kind::range: {
      const Range& range = *value.range;
      out += "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop);
      out += range.step == 1 ? ")" : ", " + std::to_string(range.step) + ")";
      return {};
    }
    case Kind::name_space: {
      out += "<Namespace {";
      bool first = true;
      for (const Attribute& attribute : value.name_space->attributes) {
        out += std::string(first ? "" : ", ") + quote(attribute.name) + ": ";
        TERN_TRY_VOID(append_text(out, attribute.value, true));
        first = false;
      }
      out += "}>";
      return {};
    }
    case Kind::macro:
      out += "<Macro " + quote(value.macro->node->name) + ">";
      return {};
    case Kind::loop: {
      TERN_TRY(const std::int64_t length, loop_length(*value.loop));
      out += "<LoopContext " + std::to_string(value.loop->index0 + 1) + "/" +
             std::to_string(length) + ">";
      return {};
    }
    default:
      out += "<" + std::string(type_name(value)) + " object>";
      return {};
  }
}

namespace {

class JsonWriter {
 public:
  JsonWriter(Interpreter& in, const JsonStyle& style) : in_(in), style_(style) {}

  Eval<void> write(const Value& value) {
    const Interpreter::Nested nested(in_);
    TERN_TRY_VOID(in_.enter());
    TERN_TRY_VOID(in_.charge(2));
    switch (value.kind) {
      case Kind::none:
        out += "null";
        return {};
      case Kind::boolean:
        out += value.boolean ? "true" : "false";
        return {};
      case Kind::integer:
      case Kind::big: {
        TERN_TRY(const std::string_view digits, in_.str(value));
        out += digits;
        return {};
      }
      case Kind::real:
        out += json_double(value.real);
        return {};
      case Kind::string:
        return write_string(value.string->bytes);
      case Kind::list:
      case Kind::tuple:
        return write_list(value.sequence->items);
      case Kind::dict:
        return write_dict(*value.dict);
      default:
        return in_.raise("Object of type " + std::string(type_name(value)) +
                         " is not JSON serializable");
    }
  }

  std::string out;

 private:
  static std::string json_double(double d) {
    const std::string text = format_double(d);
    return text == "nan" ? "NaN" : text == "inf" ? "Infinity" : text == "-inf" ? "-Infinity" : text;
  }

  void escape(char32_t c) {
    std::array<char, 12> hex{};
    std::snprintf(hex.data(), hex.size(), "\\u%04x", static_cast<unsigned>(c));
    out += hex.data();
  }

  Eval<void> write_string(std::string_view text) {
    TERN_TRY_VOID(in_.charge_bytes(text.size()));
    constexpr std::string_view kFrom = "\"\\\n\r\t\b\f";
    constexpr std::string_view kTo = "\"\\nrtbf";
    out += '"';
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      const char32_t c = decode(text, at);
      const std::size_t simple =
          c < 0x80 ? kFrom.find(static_cast<char>(c)) : std::string_view::npos;
      if (simple != std::string_view::npos) {
        out += '\\';
        out += kTo[simple];
      } else if (c < 0x20) {
        escape(c);
      } else if (c < 0x7f || !style_.ensure_ascii) {
        out += text.substr(begin, at - begin);
      } else if (c < 0x10000) {
        escape(c);
      } else {
        escape(0xd800 + ((c - 0x10000) >> 10));
        escape(0xdc00 + ((c - 0x10000) & 0x3ff));
      }
    }
    out += '"';
    return {};
  }

  Eval<void> new_line() {
    TERN_TRY_VOID(in_.charge_bytes(style_.item_separator.size() + style_.key_separator.size()));
    if (!style_.pretty) return {};
    TERN_TRY_VOID(in_.charge_bytes(style_.indent.size() * level_));
    out += '\n';
    for (std::size_t i = 0; i < level_; ++i) out += style_.indent;
    return {};
  }

  Eval<void> write_list(std::span<const Value> items) {
    if (items.empty()) {
      out += "[]";
      return {};
    }
    out += '[';
    ++level_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      TERN_TRY_VOID(new_line());
      TERN_TRY_VOID(write(items[i]));
    }
    --level_;
    TERN_TRY_VOID(new_line());
    out += ']';
    return {};
  }

  Eval<void> write_key(const Value& key) {
    switch (key.kind) {
      case Kind::string:
        return write_string(key.string->bytes);
      case Kind::none:
      case Kind::boolean:
      case Kind::integer:
      case Kind::big:
      case Kind::real:
        out += '"';
        TERN_TRY_VOID(write(key));
        out += '"';
        return {};
      default:
        return in_.raise("keys must be str, int, float, bool or None, not " +
                         std::string(type_name(key)));
    }
  }

  Eval<std::vector<Entry>> ordered(const Dict& dict) {
    std::vector<Entry> entries(dict.entries.begin(), dict.entries.end());
    if (!style_.sort_keys) return entries;
    TERN_TRY_VOID(stable_sort(
        entries, [&](const Entry& a, const Entry& b) { return in_.less(a.key, b.key); }));
    return entries;
  }

  Eval<void> write_dict(const Dict& dict) {
    if (dict.entries.empty()) {
      out += "{}";
      return {};
    }
    TERN_TRY(const std::vector<Entry> entries, ordered(dict));
    out += '{';
    ++level_;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out += style_.item_separator;
      TERN_TRY_VOID(new_line());
      TERN_TRY_VOID(write_key(entries[i].key));
      out += style_.key_separator;
      TERN_TRY_VOID(write(entries[i].value));
    }
    --level_;
    TERN_TRY_VOID(new_line());
    out += '}';
    return {};
  }

  Interpreter& in_;
  const JsonStyle& style_;
  std::size_t level_ = 0;
};

}  // namespace

Eval<std::string> to_json(Interpreter& in, const Value& value, const JsonStyle& style) {
  JsonWriter writer(in, style);
  TERN_TRY_VOID(writer.write(value));
  return std::move(writer.out);
}

}  // namespace tern::text::jinja
