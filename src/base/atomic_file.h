// Writes a file so that its final name is either complete or absent.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/error.h"

namespace tern {

/// Bytes go to `<path>.partial` in the same folder, which is locked meanwhile; `commit` syncs and
/// renames. Destroying an uncommitted file removes the partial one.
class AtomicFile {
 public:
  /// @error io  the partial file cannot be made (its folder is missing, or not writable).
  /// @error busy  another AtomicFile, in this process or another, is writing the same path.
  static Result<AtomicFile> create(const std::filesystem::path& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Appends. @error io  for example a full disk.
  Result<void> write(std::span<const std::byte> bytes);
  Result<void> write(std::string_view text);

  /// Makes the file durable and gives it its final name, replacing what was there.
  Result<void> commit();

 private:
  AtomicFile(std::filesystem::path path, std::filesystem::path partial, int fd);

  std::filesystem::path path_;
  std::filesystem::path partial_;
  int fd_ = -1;
};

}  // namespace tern
