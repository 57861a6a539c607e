#include "cli/files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/mapped_file.h"
#include "text/utf8.h"

namespace tern::cli {

Result<std::string> read_input(const std::string& path) {
  if (path != "-") return read_text_file(path, kMaxInput);
  std::string text;
  std::array<char, 1u << 16> block;
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, block.data(), block.size());
    if (got == 0) return text;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return fail(ErrorCode::io, "cannot read: " + std::generic_category().message(errno),
                  "standard input");
    text.append(block.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxInput)
      return fail(ErrorCode::too_large,
                  "more than " + std::to_string(kMaxInput) + " bytes are not read",
                  "standard input");
  }
}

Result<void> check_output(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (!std::filesystem::exists(status) || std::filesystem::is_regular_file(status)) return {};
  return fail(ErrorCode::usage, "is no regular file", path, "name a file to write");
}

Result<void> check_utf8(std::string_view text, const std::string& where) {
  for (std::size_t at = 0; at < text.size();) {
    const auto step = text::utf8_step(text.substr(at));
    if (!step.valid)
      return fail(ErrorCode::corrupt,
                  fmt::format("is not UTF-8: byte {} is 0x{:02x}", at,
                              static_cast<unsigned char>(text[at])),
                  where, "iconv -f LATIN1 -t UTF-8 converts the usual other encoding");
    at += step.bytes;
  }
  return {};
}

std::string input_name(const std::string& path) {
  return path == "-" ? "standard input" : path;
}

}  // namespace tern::cli
