// Numbers as Python has them: integers of any size (up to a bound), floats with their repr.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/jinja_value.h"

namespace tern::text::jinja {

enum class Operator : std::uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };

/// The operator's sign in Python: "+", "//", ...
std::string_view symbol(Operator op);

/// What an arithmetic function found wrong, in Python's words; `too_large` for our own bound.
struct NumberError {
  std::string what;
  bool too_large = false;
};
using Number = std::expected<Value, NumberError>;

/// Both values are numbers (bool, int, float).
Number arithmetic(Arena& arena, Operator op, const Value& a, const Value& b);
Number negate(Arena& arena, const Value& a);

/// Exact also between integers and floats.
std::partial_ordering compare_numbers(const Value& a, const Value& b);

double to_double(const Value& number);
/// int(float): nothing for NaN and infinity.
std::optional<Value> truncate(Arena& arena, double d);

/// int(text, base), base 0 or 2 to 36, white space and underscores as in Python; nothing when
/// `text` is no such number.
std::optional<Value> parse_integer(Arena& arena, std::string_view text, int base);
/// float(text).
std::optional<double> parse_float(std::string_view text);

/// repr() of a float: shortest digits that read back, "1.0", "1e+20", "nan".
std::string format_double(double d);
/// Digits of an integer (bool, int of any size) in base 2, 8, 10 or 16, "-" in front.
std::string format_integer(const Value& integer, int base = 10);

/// round(d, digits), halves to even on the exact binary value.
double round_to(double d, std::int64_t digits);

/// Bits of the magnitude, to judge a result before it is computed.
std::size_t bit_length(const Value& integer);

}  // namespace tern::text::jinja
