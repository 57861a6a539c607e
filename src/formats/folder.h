// The files of one model: a directory on disk, or files that are already in memory.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"

namespace tern::formats {

/// One named file that is already in memory (the embedded model).
struct MemoryFile {
  std::string_view name;
  Bytes bytes;
};

/// Files are mapped when they are first asked for, and stay as long as the folder lives.
/// All calls may come from several threads.
class Folder {
 public:
  Folder() = default;
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  virtual ~Folder() = default;

  /// The bytes of a file; nothing when there is none. @error io  it cannot be opened or mapped.
  virtual Result<std::optional<Bytes>> open(std::string_view name) = 0;
  /// All names, sorted. @error io
  virtual Result<std::vector<std::string>> names() const = 0;
  /// How errors name a file, or with "" the folder.
  virtual std::string place(std::string_view name) const = 0;
  /// Bytes of an opened file that are in memory now.
  virtual std::uint64_t resident_bytes(std::string_view name) const = 0;
};

std::unique_ptr<Folder> disk_folder(std::filesystem::path path);
std::unique_ptr<Folder> memory_folder(std::string display_name,
                                      const std::vector<MemoryFile>& files);

/// Whether `name` names a file inside a folder: not empty, at most 255 bytes, no slash, backslash
/// or control character, and neither "." nor "..". What another file says is asked this first.
bool is_plain_name(std::string_view name);

}  // namespace tern::formats
