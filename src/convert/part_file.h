// A file that grows, can be cut back to a known length, and can be gone on with later.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "base/error.h"

namespace tern::convert {

class PartFile {
 public:
  /// Opens or makes `path` and cuts it to `length`.
  /// @error io       for example no permission
  /// @error corrupt  the file is shorter than `length`
  static Result<PartFile> open(const std::filesystem::path& path, std::uint64_t length);

  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&& other) noexcept;
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  ~PartFile();

  /// Appends. @error io  for example a full disk
  Result<void> write(std::span<const std::byte> bytes);
  Result<void> write(std::string_view text);
  /// Makes what was written survive a power cut. @error io
  Result<void> sync();

  std::uint64_t length() const { return length_; }

 private:
  PartFile(std::filesystem::path path, int fd, std::uint64_t length);
  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t length_ = 0;
};

}  // namespace tern::convert
