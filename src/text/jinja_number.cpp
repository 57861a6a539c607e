#include "text/jinja_number.h"

#include <algorithm>
#include <array>
#include <boost/multiprecision/cpp_int.hpp>
#include <charconv>
#include <cmath>
#include <vector>

#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

using boost::multiprecision::cpp_int;

/// Integers beyond this many bits are refused: Python itself prints no more than 4300 digits.
constexpr std::size_t kMaxBits = 1 << 14;

NumberError overflow() {
  return {"integer of more than 16384 bits", true};
}

cpp_int to_big(const Value& v) {
  if (!v.is(Kind::big)) return cpp_int(as_int64(v));
  cpp_int result;
  boost::multiprecision::import_bits(result, v.big->limbs.begin(), v.big->limbs.end(), 32, false);
  return v.big->negative ? cpp_int(-result) : result;
}

Number from_big(Arena& arena, const cpp_int& i) {
  if (i >= std::numeric_limits<std::int64_t>::min() &&
      i <= std::numeric_limits<std::int64_t>::max()) {
    return make_int(static_cast<std::int64_t>(i));
  }
  const cpp_int magnitude = boost::multiprecision::abs(i);
  if (boost::multiprecision::msb(magnitude) >= kMaxBits) return std::unexpected(overflow());
  std::vector<std::uint32_t> limbs;
  boost::multiprecision::export_bits(magnitude, std::back_inserter(limbs), 32, false);
  Value v;
  v.kind = Kind::big;
  v.big = arena.make<Big>(i < 0, arena.copy(std::span<const std::uint32_t>(limbs)));
  return v;
}

/// Division that rounds toward minus infinity; the remainder has the divisor's sign.
void floor_divide(const cpp_int& a, const cpp_int& b, cpp_int& quotient, cpp_int& remainder) {
  boost::multiprecision::divide_qr(a, b, quotient, remainder);
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    quotient -= 1;
    remainder += b;
  }
}

double checked_double(const cpp_int& i) {
  return i.convert_to<double>();
}

/// a / b rounded to a double, also when neither fits one.
Number divide_integers(const Value& a, const Value& b) {
  if (!truth(b) && !b.is(Kind::big)) return std::unexpected(NumberError{"division by zero"});
  cpp_int x = to_big(a);
  cpp_int y = to_big(b);
  if (x == 0) return make_real(0.0);
  const bool negative = (x < 0) != (y < 0);
  x = boost::multiprecision::abs(x);
  y = boost::multiprecision::abs(y);
  // A quotient of at least 66 bits plus a sticky bit rounds once, in the conversion.
  const int shift = 66 - (static_cast<int>(boost::multiprecision::msb(x)) -
                          static_cast<int>(boost::multiprecision::msb(y)));
  if (shift > 0) x <<= shift;
  if (shift < 0) y <<= -shift;
  cpp_int quotient = x / y;
  if (quotient * y != x) quotient |= 1;
  const double result = std::ldexp(checked_double(quotient), -shift);
  if (std::isinf(result)) {
    return std::unexpected(NumberError{"integer division result too large for a float"});
  }
  return make_real(negative ? -result : result);
}

Number power_of_integers(Arena& arena, const Value& a, const Value& b) {
  if (b.is(Kind::big)) {
    const bool trivial = a.is_integer() && as_int64(a) >= -1 && as_int64(a) <= 1;
    if (!trivial || b.big->negative) return std::unexpected(overflow());
    const bool odd = (b.big->limbs.front() & 1) != 0;
    return make_int(as_int64(a) == -1 && !odd ? 1 : as_int64(a));
  }
  const std::int64_t exponent = as_int64(b);
  if (exponent < 0) {
    const double base = to_double(a);
    if (base == 0) {
      return std::unexpected(NumberError{"0.0 cannot be raised to a negative power"});
    }
    return make_real(std::pow(base, static_cast<double>(exponent)));
  }
  const std::size_t bits = bit_length(a);
  if (bits > 1 && static_cast<std::uint64_t>(exponent) > kMaxBits) {
    return std::unexpected(overflow());
  }
  if (bits > 1 && bits * static_cast<std::size_t>(exponent) > 2 * kMaxBits) {
    return std::unexpected(overflow());
  }
  const auto small = static_cast<unsigned>(bits > 1 ? exponent : 2 - exponent % 2);
  return from_big(arena, exponent == 0 ? cpp_int(1) : boost::multiprecision::pow(to_big(a), small));
}

Number big_arithmetic(Arena& arena, Operator op, const Value& a, const Value& b) {
  const cpp_int x = to_big(a);
  const cpp_int y = to_big(b);
  cpp_int quotient;
  cpp_int remainder;
  switch (op) {
    case Operator::add:
      return from_big(arena, x + y);
    case Operator::subtract:
      return from_big(arena, x - y);
    case Operator::multiply:
      return from_big(arena, x * y);
    default:
      if (y == 0) return std::unexpected(NumberError{"integer division or modulo by zero"});
      floor_divide(x, y, quotient, remainder);
      return from_big(arena, op == Operator::floor_divide ? quotient : remainder);
  }
}

Number integer_arithmetic(Arena& arena, Operator op, const Value& a, const Value& b) {
  if (op == Operator::divide) return divide_integers(a, b);
  if (op == Operator::power) return power_of_integers(arena, a, b);
  if (a.is_integer() && b.is_integer()) {
    const std::int64_t x = as_int64(a);
    const std::int64_t y = as_int64(b);
    std::int64_t r = 0;
    if (op == Operator::add && !__builtin_add_overflow(x, y, &r)) return make_int(r);
    if (op == Operator::subtract && !__builtin_sub_overflow(x, y, &r)) return make_int(r);
    if (op == Operator::multiply && !__builtin_mul_overflow(x, y, &r)) return make_int(r);
    const bool division = op == Operator::floor_divide || op == Operator::modulo;
    if (division && y != 0 && y != -1) {
      const std::int64_t remainder = x % y;
      const bool adjust = remainder != 0 && (remainder < 0) != (y < 0);
      if (op == Operator::modulo) return make_int(adjust ? remainder + y : remainder);
      return make_int(adjust ? x / y - 1 : x / y);
    }
  }
  return big_arithmetic(arena, op, a, b);
}

double float_modulo(double a, double b) {
  double mod = std::fmod(a, b);
  if (mod != 0) return (b < 0) != (mod < 0) ? mod + b : mod;
  return std::copysign(0.0, b);
}

double float_floor_divide(double a, double b) {
  const double div = (a - float_modulo(a, b)) / b;
  if (div == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(div);
  return div - floored > 0.5 ? floored + 1 : floored;
}

Number float_power(double a, double b) {
  if (a == 0 && b < 0) {
    return std::unexpected(NumberError{"0.0 cannot be raised to a negative power"});
  }
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b)) {
    return std::unexpected(NumberError{"complex numbers are not supported"});
  }
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) {
    return std::unexpected(NumberError{"(34, 'Numerical result out of range')"});
  }
  return make_real(result);
}

Number float_arithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::add:
      return make_real(a + b);
    case Operator::subtract:
      return make_real(a - b);
    case Operator::multiply:
      return make_real(a * b);
    case Operator::power:
      return float_power(a, b);
    default:
      break;
  }
  if (b == 0) {
    return std::unexpected(NumberError{op == Operator::divide ? "float division by zero"
                                       : op == Operator::floor_divide
                                           ? "float floor division by zero"
                                           : "float modulo"});
  }
  if (op == Operator::divide) return make_real(a / b);
  return make_real(op == Operator::modulo ? float_modulo(a, b) : float_floor_divide(a, b));
}

std::partial_ordering compare_to_double(const Value& integer, double d) {
  if (std::isnan(d)) return std::partial_ordering::unordered;
  if (std::isinf(d)) return d > 0 ? std::partial_ordering::less : std::partial_ordering::greater;
  const double whole = std::trunc(d);
  const cpp_int x = to_big(integer);
  const cpp_int y(whole);
  if (x != y) return x < y ? std::partial_ordering::less : std::partial_ordering::greater;
  if (d == whole) return std::partial_ordering::equivalent;
  return d > whole ? std::partial_ordering::less : std::partial_ordering::greater;
}

std::partial_ordering reverse(std::partial_ordering order) {
  return 0 <=> order;
}

/// Text without the surrounding white space and with ASCII digits, or nothing for other characters.
std::optional<std::string> ascii_number(std::string_view text) {
  std::string out;
  text = strip(text, true, true);
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = decode(text, at);
    const int digit = decimal_value(c);
    if (digit < 0 && c >= 0x80) return std::nullopt;
    out.push_back(digit >= 0 ? static_cast<char>('0' + digit) : static_cast<char>(c));
  }
  return out;
}

/// Removes single underscores between digits; false when one stands elsewhere.
bool drop_underscores(std::string& digits, bool leading_allowed) {
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (digits[i] != '_') {
      out.push_back(digits[i]);
      continue;
    }
    const bool start = i == 0 && !leading_allowed;
    if (start || i + 1 == digits.size() || digits[i + 1] == '_') return false;
  }
  digits = std::move(out);
  return true;
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

/// Takes "0x" and the like off; the base it stands for, or `base`.
int take_prefix(std::string_view& digits, int base, bool& prefixed) {
  if (digits.size() < 2 || digits[0] != '0') return base;
  const char letter = static_cast<char>(digits[1] | 0x20);
  const int named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (named == 0 || (base != 0 && base != named)) return base;
  digits.remove_prefix(2);
  prefixed = true;
  return named;
}

}  // namespace

std::string_view symbol(Operator op) {
  constexpr std::array<std::string_view, 7> kSymbols = {"+",  "-", "*",          "/",
                                                        "//", "%", "** or pow()"};
  return kSymbols[static_cast<std::size_t>(op)];
}

Number arithmetic(Arena& arena, Operator op, const Value& a, const Value& b) {
  if (!a.is(Kind::real) && !b.is(Kind::real)) return integer_arithmetic(arena, op, a, b);
  const double x = to_double(a);
  const double y = to_double(b);
  if ((std::isinf(x) && a.is(Kind::big)) || (std::isinf(y) && b.is(Kind::big))) {
    return std::unexpected(NumberError{"int too large to convert to float"});
  }
  return float_arithmetic(op, x, y);
}

Number negate(Arena& arena, const Value& a) {
  if (a.is(Kind::real)) return make_real(-a.real);
  return integer_arithmetic(arena, Operator::subtract, make_int(0), a);
}

std::partial_ordering compare_numbers(const Value& a, const Value& b) {
  if (a.is(Kind::real) && b.is(Kind::real)) return a.real <=> b.real;
  if (b.is(Kind::real)) return compare_to_double(a, b.real);
  if (a.is(Kind::real)) return reverse(compare_to_double(b, a.real));
  if (a.is_integer() && b.is_integer()) return as_int64(a) <=> as_int64(b);
  const int order = to_big(a).compare(to_big(b));
  return order < 0   ? std::partial_ordering::less
         : order > 0 ? std::partial_ordering::greater
                     : std::partial_ordering::equivalent;
}

double to_double(const Value& number) {
  if (number.is(Kind::real)) return number.real;
  if (number.is(Kind::big)) return checked_double(to_big(number));
  return static_cast<double>(as_int64(number));
}

std::optional<Value> truncate(Arena& arena, double d) {
  if (!std::isfinite(d)) return std::nullopt;
  const double whole = std::trunc(d);
  if (std::fabs(whole) < 9.2e18) return make_int(static_cast<std::int64_t>(whole));
  const Number n = from_big(arena, cpp_int(whole));
  return n ? std::optional(*n) : std::nullopt;
}

std::optional<Value> parse_integer(Arena& arena, std::string_view text, int base) {
  const auto ascii = ascii_number(text);
  if (!ascii) return std::nullopt;
  std::string_view rest = *ascii;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '-' || rest[0] == '+')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  bool prefixed = false;
  const bool leading_zero = rest.size() > 1 && rest[0] == '0';
  int effective = take_prefix(rest, base, prefixed);
  std::string digits(rest);
  if (digits.empty() || !drop_underscores(digits, prefixed)) return std::nullopt;
  if (base == 0 && !prefixed) {
    effective = 10;
    if (leading_zero && digits.find_first_not_of('0') != std::string::npos) return std::nullopt;
  }
  if (digits.size() > 4300) return std::nullopt;  // CPython's own limit on conversions
  cpp_int value = 0;
  for (const char c : digits) {
    const int digit = digit_value(c);
    if (digit >= effective) return std::nullopt;
    value = value * effective + digit;
  }
  const Number n = from_big(arena, negative ? cpp_int(-value) : value);
  return n ? std::optional(*n) : std::nullopt;
}

std::optional<double> parse_float(std::string_view text) {
  auto ascii = ascii_number(text);
  if (!ascii) return std::nullopt;
  for (std::size_t i = 0; i < ascii->size(); ++i) {  // underscores only between digits
    const auto digit = [&](std::size_t at) {
      return at < ascii->size() && (*ascii)[at] >= '0' && (*ascii)[at] <= '9';
    };
    if ((*ascii)[i] == '_' && (i == 0 || !digit(i - 1) || !digit(i + 1))) return std::nullopt;
  }
  std::erase(*ascii, '_');
  std::string_view rest = *ascii;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.starts_with('-') || rest.empty()) return std::nullopt;
  std::string lowered = lower(rest);
  const bool word = lowered == "nan" || lowered == "inf" || lowered == "infinity";
  if (!word && lowered.find_first_not_of("0123456789.e+-") != std::string::npos) {
    return std::nullopt;
  }
  double d = 0;
  const char* end = lowered.data() + lowered.size();
  const auto [at, error] = std::from_chars(lowered.data(), end, d);
  if (at != end || error == std::errc::invalid_argument) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    d = lowered.find("e-") != std::string::npos ? 0.0 : HUGE_VAL;
  }
  return negative ? -d : d;
}

std::string format_double(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), d, std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  std::string digits;
  std::string out;
  for (const char c : text.substr(0, e)) {
    if (c == '-') out = "-";
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  int exponent = 0;
  const char* exponent_text = text.data() + e + 1 + (text[e + 1] == '+' ? 1 : 0);
  std::from_chars(exponent_text, end.ptr, exponent);
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    const std::string magnitude = std::to_string(std::abs(exponent));
    return out + (exponent < 0 ? "e-" : "e+") + (magnitude.size() < 2 ? "0" : "") + magnitude;
  }
  if (exponent < 0) {
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  const std::string fraction = digits.substr(whole);
  return out + digits.substr(0, whole) + "." + (fraction.empty() ? "0" : fraction);
}

std::string format_integer(const Value& integer, int base) {
  if (!integer.is(Kind::big)) {
    std::array<char, 80> buffer{};
    const auto end =
        std::to_chars(buffer.data(), buffer.data() + buffer.size(), as_int64(integer), base);
    return std::string(buffer.data(), end.ptr);
  }
  cpp_int magnitude = boost::multiprecision::abs(to_big(integer));
  const std::string sign = integer.big->negative ? "-" : "";
  if (base == 10) return sign + magnitude.str();
  std::string reversed;
  for (; magnitude != 0; magnitude /= base) {
    reversed.push_back("0123456789abcdef"[static_cast<int>(magnitude % base)]);
  }
  return sign + std::string(reversed.rbegin(), reversed.rend());
}

double round_to(double d, std::int64_t digits) {
  if (!std::isfinite(d) || d == 0) return d;
  if (digits > 323) return d;
  if (digits < -308) return std::copysign(0.0, d);
  if (digits < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    const double result = std::nearbyint(d / unit) * unit;
    return result;
  }
  std::vector<char> buffer(700 + static_cast<std::size_t>(digits));
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), d,
                                 std::chars_format::fixed, static_cast<int>(digits));
  double result = d;
  std::from_chars(buffer.data(), end.ptr, result);
  return result;
}

std::size_t bit_length(const Value& integer) {
  if (integer.is(Kind::big)) return integer.big->limbs.size() * 32;
  const std::int64_t i = as_int64(integer);
  const std::uint64_t magnitude =
      i < 0 ? ~static_cast<std::uint64_t>(i) + 1 : static_cast<std::uint64_t>(i);
  return 64 - static_cast<std::size_t>(magnitude == 0 ? 64 : __builtin_clzll(magnitude));
}

}  // namespace tern::text::jinja
