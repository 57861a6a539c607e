#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace tern::cli {

Terminal detect_terminal() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool styled = (no_color == nullptr || *no_color == '\0') && term != nullptr &&
                      *term != '\0' && std::string_view(term) != "dumb";
  Terminal terminal;
  terminal.in = ::isatty(STDIN_FILENO) == 1;
  terminal.out = ::isatty(STDOUT_FILENO) == 1;
  terminal.err = ::isatty(STDERR_FILENO) == 1;
  terminal.styled_out = terminal.out && styled;
  terminal.styled_err = terminal.err && styled;
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) continue;
    terminal.width = std::clamp<std::size_t>(size.ws_col, 20, 1000);
    break;
  }
  return terminal;
}

std::string printable(std::string_view text) {
  constexpr std::string_view replacement = "\xef\xbf\xbd";
  std::string safe;
  safe.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool c1 = byte == 0xc2 && at + 1 < text.size() &&
                    static_cast<unsigned char>(text[at + 1]) >= 0x80 &&
                    static_cast<unsigned char>(text[at + 1]) < 0xa0;
    if (c1) ++at;
    if (c1 || byte == 0x7f || (byte < 0x20 && byte != '\n' && byte != '\t'))
      safe += replacement;
    else
      safe += static_cast<char>(byte);
  }
  return safe;
}

}  // namespace tern::cli
