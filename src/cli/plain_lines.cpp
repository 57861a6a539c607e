#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "cli/line_reader.h"

namespace tern::cli {
namespace {

class PlainLines : public LineReader {
 public:
  Status next(const std::string&, std::string& line) override {
    std::array<char, 1u << 16> block;
    for (std::size_t searched = 0;;) {
      const auto newline = buffer_.find('\n', searched);
      if (newline != std::string::npos) {
        line.assign(buffer_, 0, newline);
        buffer_.erase(0, newline + 1);
        return Status::line;
      }
      if (end_) {
        line = std::exchange(buffer_, {});
        return line.empty() ? Status::end : Status::line;
      }
      searched = buffer_.size();
      const ssize_t got = ::read(STDIN_FILENO, block.data(), block.size());
      if (got < 0) return errno == EINTR ? Status::interrupted : Status::failed;
      if (got == 0) end_ = true;
      buffer_.append(block.data(), static_cast<std::size_t>(got));
      if (buffer_.size() > kMaxLine) return Status::failed;
    }
  }

 private:
  static constexpr std::size_t kMaxLine = 64u << 20;

  std::string buffer_;
  bool end_ = false;
};

}  // namespace

std::unique_ptr<LineReader> plain_lines() {
  return std::make_unique<PlainLines>();
}

}  // namespace tern::cli
