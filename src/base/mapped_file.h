// A file mapped read-only into memory. Pages arrive when they are touched; nothing is copied.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

#include "base/error.h"

namespace tern {

using Bytes = std::span<const std::byte>;

class MappedFile {
 public:
  /// @error not_found  no such file. @error io  it cannot be opened or mapped, or is no regular
  /// file.
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  /// The whole file; empty for an empty file. Valid as long as this object lives.
  Bytes bytes() const { return {data_, size_}; }

  /// Bytes of the mapping that are in memory now (mincore), a multiple of the page size.
  std::size_t resident_bytes() const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Reads a whole small file (configuration, template). @error too_large over `limit` bytes.
Result<std::string> read_text_file(const std::filesystem::path& path, std::size_t limit);

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace tern
