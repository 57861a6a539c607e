#include "cli/files.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/mapped_file.h"

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

std::string input_name(const std::string& path) {
  return path == "-" ? "standard input" : path;
}

}  // namespace tern::cli
