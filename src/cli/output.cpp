#include "cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace tern::cli {

void Output::write(std::string_view text) {
  if (failed()) return;
  buffer_ += text;
  if (buffer_.size() >= (1u << 16)) flush();
}

void Output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty() && !failed()) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // a pipe that somebody else made non-blocking
      pollfd ready{fd_, POLLOUT, 0};
      ::poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      error_ = errno == EPIPE ? kClosed : errno;
    }
  }
  buffer_.clear();
}

Result<void> Output::status() const {
  if (!failed() || closed()) return {};
  return fail(ErrorCode::io, "cannot write: " + std::generic_category().message(error_), name_,
              error_ == ENOSPC ? "free some disk space and try again" : "");
}

}  // namespace tern::cli
