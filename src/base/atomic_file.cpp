#include "base/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace tern {
namespace {

std::unexpected<Error> io_error(const std::filesystem::path& path, std::string_view action) {
  const int code = errno;
  return fail(ErrorCode::io, std::string(action) + ": " + std::generic_category().message(code),
              path.string(), code == ENOSPC ? "free some disk space and try again" : "");
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path, std::filesystem::path partial, int fd)
    : path_(std::move(path)), partial_(std::move(partial)), fd_(fd) {}

Result<AtomicFile> AtomicFile::create(std::filesystem::path path) {
  auto partial = path;
  partial += ".partial";
  const int fd =
      ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0) return io_error(partial, "cannot create");
  return AtomicFile(std::move(path), std::move(partial), fd);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::move(other.partial_)),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(partial_, other.partial_);
  std::swap(fd_, other.fd_);
  return *this;
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  std::error_code ignored;
  std::filesystem::remove(partial_, ignored);
}

Result<void> AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error(partial_, "cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> AtomicFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Result<void> AtomicFile::commit() {
  if (::fsync(fd_) != 0) return io_error(partial_, "cannot sync");
  const int fd = std::exchange(fd_, -1);
  const auto abandon = [&](std::string_view action) {
    auto error = io_error(path_, action);
    std::error_code ignored;
    std::filesystem::remove(partial_, ignored);
    return error;
  };
  if (::close(fd) != 0) return abandon("cannot close");
  if (::rename(partial_.c_str(), path_.c_str()) != 0) return abandon("cannot rename");
  // The name itself must survive a power cut; a folder that cannot be synced is no failure.
  const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  if (const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); dir >= 0) {
    ::fsync(dir);
    ::close(dir);
  }
  return {};
}

}  // namespace tern
