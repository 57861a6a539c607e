#include "convert/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/atomic_file.h"

namespace tern::convert {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> io_error(const fs::path& path, std::string_view action, int code) {
  return fail(ErrorCode::io, std::string(action) + ": " + std::generic_category().message(code),
              path.string());
}

/// A trailing slash would put the partial folder inside the final one.
fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

Result<void> check_free(const fs::path& path) {
  std::error_code ignored;
  const auto status = fs::symlink_status(path, ignored);
  if (!fs::exists(status)) return {};
  if (fs::is_directory(status) && fs::is_empty(path, ignored) && !ignored) return {};
  return fail(ErrorCode::usage, "exists already", path.string(), "name a new folder");
}

/// Makes the new name survive a power cut; a folder that cannot be synced is no failure.
void sync_parent(const fs::path& path) {
  const auto parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (const int dir = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); dir >= 0) {
    ::fsync(dir);
    ::close(dir);
  }
}

}  // namespace

OutputFolder::OutputFolder(fs::path path, fs::path partial, int lock)
    : path_(std::move(path)), partial_(std::move(partial)), lock_(lock) {}

Result<OutputFolder> OutputFolder::create(fs::path path, Leftover leftover) {
  path = without_slash(path);
  if (path.empty()) return fail(ErrorCode::usage, "no name for the folder to write");
  TERN_TRY_VOID(check_free(path));
  fs::path partial = path;
  partial += ".partial";
  if (::mkdir(partial.c_str(), 0777) != 0 && errno != EEXIST)
    return io_error(partial, "cannot create", errno);
  const int lock = ::open(partial.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (lock < 0) return io_error(partial, "cannot open", errno);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock);
    return fail(ErrorCode::busy, "is being written by another program", path.string());
  }
  OutputFolder folder(std::move(path), std::move(partial), lock);
  if (leftover == Leftover::clear) TERN_TRY_VOID(folder.clear());
  return folder;
}

Result<void> OutputFolder::clear() const {
  std::error_code error;
  for (fs::directory_iterator entries(partial_, error), end; !error && entries != end;
       entries.increment(error))
    if (fs::remove_all(entries->path(), error); error) break;
  if (error) return io_error(partial_, "cannot clear", error.value());
  return {};
}

OutputFolder::OutputFolder(OutputFolder&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::move(other.partial_)),
      keep_(other.keep_),
      lock_(std::exchange(other.lock_, -1)) {}

OutputFolder& OutputFolder::operator=(OutputFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(partial_, other.partial_);
  std::swap(keep_, other.keep_);
  std::swap(lock_, other.lock_);
  return *this;
}

OutputFolder::~OutputFolder() {
  if (lock_ < 0) return;
  std::error_code ignored;
  if (!keep_) fs::remove_all(partial_, ignored);
  ::close(lock_);
}

Result<void> OutputFolder::write(std::string_view name, std::string_view text) const {
  TERN_TRY(auto file, AtomicFile::create(this->file(name)));
  TERN_TRY_VOID(file.write(text));
  return file.commit();
}

Result<void> OutputFolder::commit() {
  if (::fsync(lock_) != 0) return io_error(partial_, "cannot sync", errno);
  // Renaming over an empty folder is allowed, over one with files not.
  if (::rename(partial_.c_str(), path_.c_str()) != 0)
    return io_error(path_, "cannot rename to this", errno);
  ::close(std::exchange(lock_, -1));
  sync_parent(path_);
  return {};
}

Result<void> OutputFolder::commit_file(std::string_view name) {
  std::error_code ignored;
  if (fs::is_directory(path_, ignored)) fs::remove(path_, ignored);  // an empty one: check_free
  if (::rename(file(name).c_str(), path_.c_str()) != 0)
    return io_error(path_, "cannot rename to this", errno);
  sync_parent(path_);
  fs::remove_all(partial_, ignored);
  ::close(std::exchange(lock_, -1));
  return {};
}

}  // namespace tern::convert
