// Filters on single values: numbers, defaults, JSON.
#include <array>
#include <cmath>

#include "text/jinja_format_number.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"
#include "text/jinja_number.h"
#include "text/jinja_print.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

using Values = std::span<const Value>;

Eval<Value> absolute(Interpreter& in, Values args) {
  const Value& v = args[0];
  if (!v.is_number()) {
    return in.raise("bad operand type for abs(): '" + std::string(type_name(v)) + "'");
  }
  if (v.is(Kind::real)) return make_real(std::fabs(v.real));
  return in.negate(v, compare_numbers(v, make_int(0)) < 0 ? "-" : "+");
}

/// foo|attr("bar"): the attribute alone, never the item.
Eval<Value> attr(Interpreter& in, Values args) {
  if (!args[1].is(Kind::string)) return in.raise("attribute name must be string");
  if (args[0].is(Kind::undefined)) return in.raise_undefined(args[0]);
  if (args[0].is(Kind::dict) && !find_method(args[0], args[1].string->bytes)) {
    return in.undefined_member(args[0], args[1]);
  }
  return in.attribute(args[0], args[1].string->bytes);
}

Eval<Value> default_value(Interpreter& in, Values args) {
  const bool boolean = args[2].present() && truth(args[2]);
  const bool missing = args[0].is(Kind::undefined) || (boolean && !truth(args[0]));
  if (!missing) return args[0];
  return args[1].present() ? Eval<Value>(args[1]) : in.text("");
}

/// float(value); nothing where Python raises TypeError or ValueError.
Eval<std::optional<double>> to_float(Interpreter& in, const Value& v) {
  if (v.is(Kind::undefined)) return in.raise_undefined(v);
  if (v.is_number()) {
    const double d = to_double(v);
    if (v.is(Kind::big) && std::isinf(d)) return in.raise("int too large to convert to float");
    return d;
  }
  if (!v.is(Kind::string)) return std::nullopt;
  TERN_TRY_VOID(in.charge_bytes(v.string->bytes.size()));
  return parse_float(v.string->bytes);
}

Eval<Value> float_filter(Interpreter& in, Values args) {
  TERN_TRY(const std::optional<double> d, to_float(in, args[0]));
  if (d) return make_real(*d);
  return args[1].present() ? args[1] : make_real(0.0);
}

Eval<Value> int_filter(Interpreter& in, Values args) {
  const Value& v = args[0];
  const Value fallback = args[1].present() ? args[1] : make_int(0);
  if (v.is(Kind::undefined)) return in.raise_undefined(v);
  if (v.is_integer()) return make_int(as_int64(v));
  if (v.is(Kind::big)) return v;
  if (v.is(Kind::real)) {
    if (std::isinf(v.real)) return in.raise("cannot convert float infinity to integer");
    return truncate(in.arena(), v.real).value_or(fallback);
  }
  if (!v.is(Kind::string)) return fallback;
  std::int64_t base = 10;
  if (args[2].present()) {
    if (!args[2].is_integer()) return in.raise("base must be an integer");
    base = as_int64(args[2]);
  }
  TERN_TRY_VOID(in.charge_bytes(v.string->bytes.size()));
  if (base == 0 || (base >= 2 && base <= 36)) {
    if (const auto i = parse_integer(in.arena(), v.string->bytes, static_cast<int>(base))) {
      return *i;
    }
  }
  const auto d = parse_float(v.string->bytes);  // "42.23" is 42
  return d ? truncate(in.arena(), *d).value_or(fallback) : fallback;
}

/// Integers to a multiple of ten, halves to even.
Eval<Value> round_integer(Interpreter& in, const Value& v, std::int64_t precision) {
  if (precision >= 0) return in.negate(v, "+");
  if (precision < -4000) return make_int(0);
  TERN_TRY(const Value unit, in.binary(Operator::power, make_int(10), make_int(-precision)));
  TERN_TRY(const Value rest, in.binary(Operator::modulo, v, unit));
  TERN_TRY(const Value low, in.binary(Operator::subtract, v, rest));
  TERN_TRY(const Value twice, in.binary(Operator::multiply, rest, make_int(2)));
  TERN_TRY(const Value quotient, in.binary(Operator::floor_divide, low, unit));
  TERN_TRY(const Value parity, in.binary(Operator::modulo, quotient, make_int(2)));
  const auto order = compare_numbers(twice, unit);
  const bool up = order > 0 || (order == 0 && truth(parity));
  return up ? in.binary(Operator::add, low, unit) : low;
}

Eval<Value> round_filter(Interpreter& in, Values args) {
  const Value& v = args[0];
  std::int64_t precision = 0;
  if (args[1].present()) {
    if (!args[1].is_integer()) {
      return in.raise("'" + std::string(type_name(args[1])) +
                      "' object cannot be interpreted as an integer");
    }
    precision = as_int64(args[1]);
  }
  std::string_view method = "common";
  if (args[2].present()) method = args[2].is(Kind::string) ? args[2].string->bytes : "";
  if (method != "common" && method != "ceil" && method != "floor") {
    return in.raise("method must be common, ceil or floor");
  }
  if (v.is(Kind::undefined)) return in.raise_undefined(v);
  if (!v.is_number()) {
    return in.raise("type " + std::string(type_name(v)) + " doesn't define __round__ method");
  }
  if (method == "common") {
    if (!v.is(Kind::real)) return round_integer(in, v, precision);
    return make_real(round_to(v.real, precision));
  }
  TERN_TRY(const Value unit, in.binary(Operator::power, make_int(10), make_int(precision)));
  TERN_TRY(const Value scaled, in.binary(Operator::multiply, v, unit));
  Value whole = scaled;
  if (scaled.is(Kind::real)) {
    const double d = method == "ceil" ? std::ceil(scaled.real) : std::floor(scaled.real);
    const auto truncated = truncate(in.arena(), d);
    if (!truncated) return in.raise("cannot convert float infinity to integer");
    whole = *truncated;
  }
  return in.binary(Operator::divide, whole, unit);
}

Eval<Value> filesizeformat(Interpreter& in, Values args) {
  TERN_TRY(const std::optional<double> bytes, to_float(in, args[0]));
  if (!bytes) return in.raise("could not convert to float");
  const bool binary = args[1].present() && truth(args[1]);
  const double base = binary ? 1024 : 1000;
  constexpr std::string_view kLetters = "kMGTPEZY";
  if (*bytes == 1) return in.text("1 Byte");
  if (*bytes < base) {
    if (!std::isfinite(*bytes)) return in.raise("cannot convert float infinity to integer");
    return in.text(format_integer(*truncate(in.arena(), *bytes)) + " Bytes");
  }
  double unit = base;
  std::string prefix;
  for (const char letter : kLetters) {
    unit *= base;
    prefix = binary && letter == 'k' ? "KiB" : std::string(1, letter) + (binary ? "iB" : "B");
    if (*bytes < unit) break;
  }
  const double shown = base * *bytes / unit;
  return in.text((shown < 0 ? "-" : "") + format_magnitude(shown, 'f', 1, false) + " " + prefix);
}

Eval<Value> tojson(Interpreter& in, Values args) {
  JsonStyle style;
  style.ensure_ascii = args[1].present() && truth(args[1]);
  style.sort_keys = args[4].present() && truth(args[4]);
  if (args[2].present() && !args[2].is(Kind::none)) {
    style.pretty = true;
    style.item_separator = ",";
    if (args[2].is(Kind::string)) {
      style.indent = args[2].string->bytes;
    } else if (args[2].is_integer()) {
      const auto width = static_cast<std::size_t>(std::max<std::int64_t>(as_int64(args[2]), 0));
      TERN_TRY_VOID(in.reserve(width));
      style.indent.assign(width, ' ');
    } else {
      return in.raise("can't multiply sequence by non-int of type '" +
                      std::string(type_name(args[2])) + "'");
    }
  }
  if (args[3].present() && !args[3].is(Kind::none)) {
    TERN_TRY(const std::span<const Value> separators, in.iterate(args[3]));
    if (separators.size() != 2 || !separators[0].is(Kind::string) ||
        !separators[1].is(Kind::string)) {
      return in.raise("separators must be a pair of strings");
    }
    style.item_separator = separators[0].string->bytes;
    style.key_separator = separators[1].string->bytes;
  }
  TERN_TRY(const std::string json, to_json(in, args[0], style));
  return in.text(json);
}

/// pprint.pformat() of what fits on one line.
Eval<Value> pprint(Interpreter& in, Values args) {
  TERN_TRY(const std::string shown, in.repr(args[0]));
  if (shown.size() > 80) {
    return in.raise("pprint of more than one line is not supported", ErrorCode::unsupported);
  }
  return in.text(shown);
}

Eval<Value> refused(Interpreter& in, const Value&, const Args&) {
  return in.raise("this filter is not supported in chat templates", ErrorCode::unsupported);
}

constexpr std::array<std::string_view, 1> kX = {"/x"};
constexpr std::array<std::string_view, 2> kAttr = {"obj", "name"};
constexpr std::array<std::string_view, 3> kDefault = {"value", "default_value", "boolean"};
constexpr std::array<std::string_view, 2> kFloat = {"value", "default"};
constexpr std::array<std::string_view, 3> kInt = {"value", "default", "base"};
constexpr std::array<std::string_view, 3> kRound = {"value", "precision", "method"};
constexpr std::array<std::string_view, 2> kFileSize = {"value", "binary"};
constexpr std::array<std::string_view, 5> kJson = {"x", "ensure_ascii", "indent", "separators",
                                                   "sort_keys"};

constexpr std::array<Native, 13> kFilters = {{
    {.name = "abs", .parameters = kX, .required = 1, .function = absolute},
    {.name = "attr", .parameters = kAttr, .required = 2, .function = attr},
    {.name = "d", .parameters = kDefault, .required = 1, .function = default_value},
    {.name = "default", .parameters = kDefault, .required = 1, .function = default_value},
    {.name = "float", .parameters = kFloat, .required = 1, .function = float_filter},
    {.name = "int", .parameters = kInt, .required = 1, .function = int_filter},
    {.name = "round", .parameters = kRound, .required = 1, .function = round_filter},
    {.name = "filesizeformat", .parameters = kFileSize, .required = 1, .function = filesizeformat},
    {.name = "tojson", .parameters = kJson, .required = 1, .function = tojson},
    {.name = "pprint", .parameters = kX, .required = 1, .function = pprint},
    {.name = "random", .variadic = refused},
    {.name = "urlize", .variadic = refused},
    {.name = "xmlattr", .variadic = refused},
}};

}  // namespace

const Native* find_value_filter(std::string_view name) {
  return find_native(kFilters, name);
}

const Native* find_filter(std::string_view name) {
  if (const Native* filter = find_value_filter(name)) return filter;
  if (const Native* filter = find_text_filter(name)) return filter;
  if (const Native* filter = find_select_filter(name)) return filter;
  return find_sequence_filter(name);
}

}  // namespace tern::text::jinja
