#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

namespace tern {
namespace {

std::unexpected<Error> system_error(const std::filesystem::path& path, std::string_view action,
                                    int code) {
  const bool missing = code == ENOENT || code == ENOTDIR;
  std::string hint = code == EACCES ? "check the permissions of the file and its folders" : "";
  return fail(missing ? ErrorCode::not_found : ErrorCode::io,
              std::string(action) + ": " + std::generic_category().message(code), path.string(),
              std::move(hint));
}

/// Closes the descriptor at the end of a scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  if (path.empty()) return fail(ErrorCode::not_found, "a file without a name", "\"\"");
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it is refused below.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return system_error(path, "cannot open", errno);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return system_error(path, "cannot stat", errno);
  if (!S_ISREG(status.st_mode))
    return fail(ErrorCode::io, "not a regular file", path.string(),
                S_ISDIR(status.st_mode) ? "it is a folder" : "");
  MappedFile file;
  file.size_ = static_cast<std::size_t>(status.st_size);
  if (file.size_ == 0) return file;
  void* data = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return system_error(path, "cannot map", errno);
  file.data_ = static_cast<const std::byte*>(data);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::size_t MappedFile::resident_bytes() const {
  if (data_ == nullptr) return 0;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages((size_ + page - 1) / page);
  if (::mincore(const_cast<std::byte*>(data_), size_, pages.data()) != 0) return 0;
  std::size_t resident = 0;
  for (const unsigned char flags : pages) resident += (flags & 1u) != 0 ? page : 0;
  return resident;
}

Result<std::string> read_text_file(const std::filesystem::path& path, std::size_t limit) {
  TERN_TRY(const MappedFile file, MappedFile::open(path));
  if (file.bytes().size() > limit)
    return fail(ErrorCode::too_large,
                "file of " + std::to_string(file.bytes().size()) + " bytes, at most " +
                    std::to_string(limit) + " are read",
                path.string());
  return std::string(as_text(file.bytes()));
}

}  // namespace tern
