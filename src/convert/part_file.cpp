#include "convert/part_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace tern::convert {
namespace {

std::unexpected<Error> io_error(const std::filesystem::path& path, std::string_view action) {
  const int code = errno;
  return fail(ErrorCode::io, std::string(action) + ": " + std::generic_category().message(code),
              path.string(),
              code == ENOSPC ? "free some disk space, then go on with --resume" : "");
}

}  // namespace

PartFile::PartFile(std::filesystem::path path, int fd, std::uint64_t length)
    : path_(std::move(path)), fd_(fd), length_(length) {}

Result<PartFile> PartFile::open(const std::filesystem::path& path, std::uint64_t length) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0) return io_error(path, "cannot create");
  PartFile file(path, fd, length);
  struct stat status{};
  if (::fstat(fd, &status) != 0) return io_error(path, "cannot stat");
  if (static_cast<std::uint64_t>(status.st_size) < length)
    return fail(ErrorCode::corrupt,
                std::to_string(status.st_size) + " bytes, " + std::to_string(length) +
                    " were written before",
                path.string(), "start again without --resume");
  if (::ftruncate(fd, static_cast<off_t>(length)) != 0) return io_error(path, "cannot cut");
  if (::lseek(fd, 0, SEEK_END) < 0) return io_error(path, "cannot seek");
  return file;
}

PartFile::PartFile(PartFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), length_(other.length_) {}

PartFile& PartFile::operator=(PartFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(length_, other.length_);
  return *this;
}

PartFile::~PartFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> PartFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error(path_, "cannot write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    length_ += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<void> PartFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Result<void> PartFile::sync() {
  if (::fdatasync(fd_) != 0) return io_error(path_, "cannot sync");
  return {};
}

}  // namespace tern::convert
