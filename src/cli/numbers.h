// Numbers as people type them, taken strictly: the whole text, in range, no sign where none fits.
#pragma once
#include <cstdint>
#include <limits>
#include <string_view>

#include "base/error.h"

namespace tern::cli {

struct IntegerRange {
  std::uint64_t min = 0;
  std::uint64_t max = std::numeric_limits<std::uint64_t>::max();
};

struct RealRange {
  double min = 0, max = 0;
  bool open_min = false, open_max = false;  ///< the bound itself is outside
};

/// @error usage  no integer, or outside the range (which is named). `where` is left empty.
Result<std::uint64_t> parse_integer(std::string_view text, IntegerRange range);

/// @error usage  no finite number, or outside the range.
Result<double> parse_real(std::string_view text, RealRange range);

}  // namespace tern::cli
