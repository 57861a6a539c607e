// Numbers as printf and the format specifications write them.
#pragma once
#include <string>

#include "text/jinja_interpreter.h"

namespace tern::text::jinja {

/// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct FormatSpec {
  std::string fill = " ";
  char align = '\0';  ///< < > ^ =
  char sign = '-';
  bool alternate = false;
  bool zero = false;
  std::size_t width = 0;
  char grouping = '\0';
  int precision = -1;
  char type = '\0';
};

/// Digits of |d|: type e, f, g or % (either case), or '\0' for a float without type.
std::string format_magnitude(double d, char type, int precision, bool alternate);

/// Commas or underscores between groups of `group` digits of the whole part.
std::string group_digits(const std::string& digits, char separator, std::size_t group);

/// Fill, sign and prefix around `digits`. Checks the budget.
Eval<std::string> pad_number(Interpreter& in, const FormatSpec& spec, const std::string& sign,
                             const std::string& digits);
Eval<std::string> pad_field(Interpreter& in, const FormatSpec& spec, std::string_view text,
                            char default_align);

/// An integer (bool, int of any size) of type d, b, o, x, X or c.
Eval<std::string> format_integer_field(Interpreter& in, const FormatSpec& spec,
                                       const Value& integer);
Eval<std::string> format_real_field(Interpreter& in, const FormatSpec& spec, double d);

}  // namespace tern::text::jinja
