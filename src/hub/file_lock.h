// A lock that other programs respect: flock on a file, as Python's filelock does it.
#pragma once
#include <filesystem>
#include <optional>

#include "base/error.h"

namespace tern::hub {

/// Held until destroyed; a process that dies releases it. The file stays.
class FileLock {
 public:
  /// Makes the file and its folders if they are missing.
  /// @return nothing when somebody else, in this process or another, holds it
  /// @error io  the file cannot be made
  static Result<std::optional<FileLock>> try_acquire(const std::filesystem::path& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace tern::hub
