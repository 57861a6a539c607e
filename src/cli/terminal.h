// What the standard streams are connected to, and what may be printed there.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace tern::cli {

struct Terminal {
  bool in = false;          ///< standard input is a terminal
  bool out = false;         ///< standard output is
  bool err = false;         ///< standard error is
  bool styled_out = false;  ///< escape sequences are welcome on standard output
  bool styled_err = false;
  std::size_t width = 80;  ///< columns
};

/// Looks at the streams, NO_COLOR, TERM and COLUMNS.
Terminal detect_terminal();

inline constexpr std::string_view kDim = "\x1b[2m";
inline constexpr std::string_view kBold = "\x1b[1m";
inline constexpr std::string_view kReset = "\x1b[0m";
inline constexpr std::string_view kEraseLine = "\r\x1b[K";

/// `text` without control characters that could steer a terminal: all of C0 but tab and newline,
/// DEL, and C1 (as UTF-8) become U+FFFD. Model output and names from files go through this.
std::string printable(std::string_view text);

}  // namespace tern::cli
