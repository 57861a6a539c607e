#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
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

/// Whether `fd` is still the file that `path` names.
bool names(const std::filesystem::path& path, int fd) {
  struct stat named{}, opened{};
  return ::stat(path.c_str(), &named) == 0 && ::fstat(fd, &opened) == 0 &&
         named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path, std::filesystem::path partial, int fd)
    : path_(std::move(path)), partial_(std::move(partial)), fd_(fd) {}

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& path) {
  auto partial = path;
  partial += ".partial";
  for (;;) {
    const int fd = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) return io_error(partial, "cannot create");
    AtomicFile file(path, partial, fd);
    // Nothing is touched before the lock is held; a writer that dies releases it.
    // A file system without locks is no reason to fail.
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(std::exchange(file.fd_, -1));
      return fail(ErrorCode::busy, "another process is writing this file", path.string(),
                  "wait for it, or choose another name");
    }
    if (!names(partial, fd)) {  // the other writer finished in between: this is its file now
      ::close(std::exchange(file.fd_, -1));
      continue;
    }
    if (::ftruncate(fd, 0) != 0) return io_error(partial, "cannot truncate");
    return file;
  }
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
  std::error_code ignored;
  std::filesystem::remove(partial_, ignored);  // while the lock is held: it is ours
  ::close(fd_);
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
  if (::rename(partial_.c_str(), path_.c_str()) != 0) {
    auto error = io_error(path_, "cannot rename");
    *this = AtomicFile({}, {}, -1);
    return error;
  }
  ::close(std::exchange(fd_, -1));  // and with it the lock; fsync has said what could go wrong
  // The name itself must survive a power cut; a folder that cannot be synced is no failure.
  const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  if (const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); dir >= 0) {
    ::fsync(dir);
    ::close(dir);
  }
  return {};
}

}  // namespace tern
