#include "text/jinja_format_number.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "text/jinja_number.h"
#include "text/jinja_text.h"

namespace tern::text::jinja {

namespace {

constexpr int kMaxPrecision = 100'000;

std::string to_text(double d, std::chars_format format, int precision) {
  std::vector<char> buffer(400 + static_cast<std::size_t>(precision));
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), d, format, precision);
  return {buffer.data(), end.ptr};
}

/// %g, and the form of a float without type, which keeps ".0" and switches to exponents earlier.
std::string general(double d, int precision, bool keep_point, bool alternate) {
  precision = std::max(precision, 1);
  const std::string scientific = to_text(d, std::chars_format::scientific, precision - 1);
  const std::size_t e = scientific.find('e');
  int exponent = 0;
  const char* from = scientific.data() + e + (scientific[e + 1] == '+' ? 2 : 1);
  std::from_chars(from, scientific.data() + scientific.size(), exponent);
  const bool use_exponent = exponent < -4 || exponent >= precision - (keep_point ? 1 : 0);
  std::string mantissa = use_exponent
                             ? scientific.substr(0, e)
                             : to_text(d, std::chars_format::fixed, precision - 1 - exponent);
  if (!alternate && mantissa.find('.') != std::string::npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.ends_with('.')) mantissa.pop_back();
  }
  if (use_exponent) return mantissa + scientific.substr(e);
  return keep_point && mantissa.find('.') == std::string::npos ? mantissa + ".0" : mantissa;
}

std::string sign_of(bool negative, char sign) {
  if (negative) return "-";
  return sign == '+' ? "+" : sign == ' ' ? " " : "";
}

}  // namespace

std::string format_magnitude(double d, char type, int precision, bool alternate) {
  d = std::fabs(d);
  const bool upper = type >= 'A' && type <= 'Z';
  std::string text;
  if (!std::isfinite(d)) {
    text = std::isnan(d) ? "nan" : "inf";
  } else {
    const int digits = std::min(precision < 0 ? 6 : precision, kMaxPrecision);
    switch (upper ? type | 0x20 : type) {
      case 'e':
        text = to_text(d, std::chars_format::scientific, digits);
        break;
      case 'f':
        text = to_text(d, std::chars_format::fixed, digits);
        break;
      case '%':
        text = to_text(d * 100, std::chars_format::fixed, digits);
        break;
      case 'g':
      case 'n':
        text = general(d, digits, false, alternate);
        break;
      default:
        text = precision < 0 ? format_double(d) : general(d, digits, true, alternate);
    }
  }
  if (upper) {
    std::ranges::transform(text, text.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    });
  }
  return type == '%' ? text + "%" : text;
}

std::string group_digits(const std::string& digits, char separator, std::size_t group) {
  std::size_t whole = 0;
  while (whole < digits.size() && std::isxdigit(static_cast<unsigned char>(digits[whole]))) ++whole;
  std::string out;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

Eval<std::string> pad_field(Interpreter& in, const FormatSpec& spec, std::string_view text,
                            char default_align) {
  const std::size_t length = count_code_points(text);
  if (spec.width <= length) return std::string(text);
  const std::size_t total = spec.width - length;
  TERN_TRY_VOID(in.reserve(total, spec.fill.size()));
  TERN_TRY_VOID(in.charge_bytes(total));
  const char align = spec.align == '\0' ? default_align : spec.align;
  const std::size_t left = align == '<' ? 0 : align == '^' ? total / 2 : total;
  std::string out;
  for (std::size_t i = 0; i < left; ++i) out += spec.fill;
  out += text;
  for (std::size_t i = left; i < total; ++i) out += spec.fill;
  return out;
}

Eval<std::string> pad_number(Interpreter& in, const FormatSpec& spec, const std::string& sign,
                             const std::string& digits) {
  const std::size_t length = sign.size() + digits.size();
  if (spec.align != '=' || spec.width <= length) return pad_field(in, spec, sign + digits, '>');
  const std::size_t total = spec.width - length;
  TERN_TRY_VOID(in.reserve(total, spec.fill.size()));
  TERN_TRY_VOID(in.charge_bytes(total));
  std::string out = sign;
  for (std::size_t i = 0; i < total; ++i) out += spec.fill;
  return out + digits;
}

Eval<std::string> format_integer_field(Interpreter& in, const FormatSpec& spec,
                                       const Value& integer) {
  if (spec.precision >= 0) return in.raise("Precision not allowed in integer format specifier");
  if (spec.type == 'c') {
    const bool valid =
        integer.is_integer() && as_int64(integer) >= 0 && as_int64(integer) <= 0x10ffff;
    if (!valid) return in.raise("%c arg not in range(0x110000)");
    std::string character;
    append_utf8(character, static_cast<char32_t>(as_int64(integer)));
    return pad_field(in, spec, character, '>');
  }
  const char type = static_cast<char>(spec.type | 0x20);
  const int base = type == 'x' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
  std::string digits = format_integer(integer, base);
  const bool negative = digits.starts_with('-');
  if (negative) digits.erase(0, 1);
  if (spec.type == 'X') {
    std::ranges::transform(digits, digits.begin(),
                           [](char c) { return c >= 'a' ? static_cast<char>(c - 32) : c; });
  }
  if (spec.grouping != '\0') digits = group_digits(digits, spec.grouping, base == 10 ? 3 : 4);
  std::string sign = sign_of(negative, spec.sign);
  if (spec.alternate && base != 10) sign += std::string("0") + spec.type;
  return pad_number(in, spec, sign, digits);
}

Eval<std::string> format_real_field(Interpreter& in, const FormatSpec& spec, double d) {
  if (spec.precision > kMaxPrecision) return in.raise("precision too big");
  std::string digits = format_magnitude(d, spec.type, spec.precision, spec.alternate);
  if (spec.grouping != '\0') digits = group_digits(digits, spec.grouping, 3);
  return pad_number(in, spec, sign_of(std::signbit(d) && !std::isnan(d), spec.sign), digits);
}

}  // namespace tern::text::jinja
