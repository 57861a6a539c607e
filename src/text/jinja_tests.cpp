// The tests behind `is`.
#include <array>

#include "text/jinja_interpreter.h"
#include "text/jinja_natives.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

using Values = std::span<const Value>;

template <Kind kind>
Eval<Value> is_kind(Interpreter&, Values args) {
  return make_bool(args[0].is(kind));
}

Eval<Value> defined(Interpreter&, Values args) {
  return make_bool(!args[0].is(Kind::undefined));
}

template <bool expected>
Eval<Value> is_bool(Interpreter&, Values args) {
  return make_bool(args[0].is(Kind::boolean) && args[0].boolean == expected);
}

Eval<Value> is_integer(Interpreter&, Values args) {
  return make_bool(args[0].is(Kind::integer) || args[0].is(Kind::big));
}

Eval<Value> is_number(Interpreter&, Values args) {
  return make_bool(args[0].is_number());
}

Eval<Value> is_iterable(Interpreter& in, Values args) {
  return make_bool(in.iterable(args[0]));
}

/// len() and item access, whatever its meaning: dictionaries are sequences too.
Eval<Value> is_sequence(Interpreter&, Values args) {
  switch (args[0].kind) {
    case Kind::undefined:
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
      return make_bool(true);
    default:
      return make_bool(false);
  }
}

Eval<Value> is_callable(Interpreter&, Values args) {
  switch (args[0].kind) {
    case Kind::undefined:
    case Kind::macro:
    case Kind::native:
    case Kind::method:
    case Kind::loop:
    case Kind::joiner:
      return make_bool(true);
    default:
      return make_bool(false);
  }
}

Eval<bool> divides(Interpreter& in, const Value& value, const Value& divisor, std::int64_t rest) {
  TERN_TRY(const Value remainder, in.binary(Operator::modulo, value, divisor));
  return in.equal(remainder, make_int(rest));
}

template <std::int64_t rest>
Eval<Value> parity(Interpreter& in, Values args) {
  TERN_TRY(const bool yes, divides(in, args[0], make_int(2), rest));
  return make_bool(yes);
}

Eval<Value> divisible_by(Interpreter& in, Values args) {
  TERN_TRY(const bool yes, divides(in, args[0], args[1], 0));
  return make_bool(yes);
}

/// str.islower / str.isupper: all cased characters are, and there is one.
template <bool lower>
Eval<Value> is_case(Interpreter& in, Values args) {
  TERN_TRY(const std::string_view text, in.str(args[0]));
  TERN_TRY_VOID(in.charge_bytes(text.size()));
  bool found = false;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = decode(text, at);
    if ((lower ? jinja::is_upper(c) : jinja::is_lower(c)) || is_title(c)) return make_bool(false);
    found = found || (lower ? jinja::is_lower(c) : jinja::is_upper(c));
  }
  return make_bool(found);
}

Eval<Value> equals(Interpreter& in, Values args) {
  TERN_TRY(const bool same, in.equal(args[0], args[1]));
  return make_bool(same);
}

Eval<Value> differs(Interpreter& in, Values args) {
  TERN_TRY(const bool same, in.equal(args[0], args[1]));
  return make_bool(!same);
}

template <char first, char second = '\0'>
Eval<Value> ordered(Interpreter& in, Values args) {
  constexpr std::array<char, 2> kSign = {first, second};
  TERN_TRY(const bool yes,
           in.less(args[0], args[1], std::string_view(kSign.data(), second == '\0' ? 1 : 2)));
  return make_bool(yes);
}

Eval<Value> is_in(Interpreter& in, Values args) {
  TERN_TRY(const bool inside, in.contains(args[1], args[0]));
  return make_bool(inside);
}

/// `is` of Python: equal small things are one object, others only themselves.
Eval<Value> same_as(Interpreter&, Values args) {
  const Value& a = args[0];
  const Value& b = args[1];
  if (a.kind != b.kind) return make_bool(false);
  switch (a.kind) {
    case Kind::none:
      return make_bool(true);
    case Kind::boolean:
      return make_bool(a.boolean == b.boolean);
    case Kind::integer:
      return make_bool(a.integer == b.integer);
    case Kind::real:
      return make_bool(a.real == b.real);
    case Kind::string:
      return make_bool(a.string->bytes == b.string->bytes);
    default:
      return make_bool(a.object == b.object);
  }
}

Eval<Value> is_escaped(Interpreter&, Values args) {
  return make_bool(args[0].is(Kind::string) && args[0].string->markup);
}

template <const Native* (*find)(std::string_view)>
Eval<Value> is_known(Interpreter& in, Values args) {
  if (!hashable(args[0]))
    return in.raise("unhashable type: '" + std::string(type_name(args[0])) + "'");
  return make_bool(args[0].is(Kind::string) && find(args[0].string->bytes));
}

constexpr std::array<std::string_view, 2> kNames = {"value", "other"};
constexpr std::array<std::string_view, 2> kDivisor = {"value", "num"};
constexpr std::array<std::string_view, 2> kIn = {"value", "seq"};
constexpr std::array<std::string_view, 2> kOperands = {"/a", "/b"};

using Function = Eval<Value> (*)(Interpreter&, Values);

constexpr Native unary(std::string_view name, Function function) {
  return {
      .name = name, .parameters = std::span(kNames).first(1), .required = 1, .function = function};
}

constexpr Native binary(std::string_view name, Function function,
                        std::span<const std::string_view> parameters = kOperands) {
  return {.name = name, .parameters = parameters, .required = 2, .function = function};
}

constexpr std::array<Native, 39> kTests = {{
    unary("odd", parity<1>),
    unary("even", parity<0>),
    binary("divisibleby", divisible_by, kDivisor),
    unary("defined", defined),
    unary("undefined", is_kind<Kind::undefined>),
    unary("filter", is_known<find_filter>),
    unary("test", is_known<find_test>),
    unary("none", is_kind<Kind::none>),
    unary("boolean", is_kind<Kind::boolean>),
    unary("false", is_bool<false>),
    unary("true", is_bool<true>),
    unary("integer", is_integer),
    unary("float", is_kind<Kind::real>),
    unary("lower", is_case<true>),
    unary("upper", is_case<false>),
    unary("string", is_kind<Kind::string>),
    unary("mapping", is_kind<Kind::dict>),
    unary("number", is_number),
    unary("sequence", is_sequence),
    unary("iterable", is_iterable),
    unary("callable", is_callable),
    binary("sameas", same_as, kNames),
    unary("escaped", is_escaped),
    binary("in", is_in, kIn),
    binary("==", equals),
    binary("eq", equals),
    binary("equalto", equals),
    binary("!=", differs),
    binary("ne", differs),
    binary(">", ordered<'>'>),
    binary("gt", ordered<'>'>),
    binary("greaterthan", ordered<'>'>),
    binary("ge", ordered<'>', '='>),
    binary(">=", ordered<'>', '='>),
    binary("<", ordered<'<'>),
    binary("lt", ordered<'<'>),
    binary("lessthan", ordered<'<'>),
    binary("<=", ordered<'<', '='>),
    binary("le", ordered<'<', '='>),
}};

}  // namespace

const Native* find_test(std::string_view name) {
  return find_native(kTests, name);
}

}  // namespace tern::text::jinja
