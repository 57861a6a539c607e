#include "cli/numbers.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <system_error>

namespace tern::cli {

Result<std::uint64_t> parse_integer(std::string_view text, IntegerRange range) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const bool whole = error == std::errc() && rest == end;
  if (whole && value >= range.min && value <= range.max) return value;
  const bool number =
      whole || error == std::errc::result_out_of_range ||
      (text.size() > 1 && text[0] == '-' &&
       text.find_first_not_of("0123456789", 1) == std::string_view::npos);  // below every range
  const auto expected = range.max == std::numeric_limits<std::uint64_t>::max()
                            ? fmt::format("{} or more", range.min)
                            : fmt::format("{} to {}", range.min, range.max);
  if (number) return fail(ErrorCode::usage, fmt::format("{} is outside {}", text, expected));
  return fail(ErrorCode::usage, fmt::format("\"{}\" is not a whole number ({})", text, expected));
}

Result<double> parse_real(std::string_view text, RealRange range) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const auto expected = fmt::format("{}{} to {}{}", range.open_min ? "above " : "", range.min,
                                    range.open_max ? "below " : "", range.max);
  if (rest != end || error == std::errc::invalid_argument || !std::isfinite(value))
    return fail(ErrorCode::usage, fmt::format("\"{}\" is not a number ({})", text, expected));
  const bool inside = (range.open_min ? value > range.min : value >= range.min) &&
                      (range.open_max ? value < range.max : value <= range.max);
  if (error != std::errc() || !inside)
    return fail(ErrorCode::usage, fmt::format("{} is outside {}", text, expected));
  return value;
}

}  // namespace tern::cli
