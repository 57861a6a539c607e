// A folder of files that appears under its name only when all of it is there.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/error.h"

namespace tern::convert {

/// Files are written into `<path>.partial` beside it; `commit` gives that folder its name.
/// Destroying an uncommitted one removes what was written, unless it is to be kept. What a killed
/// program left under `<path>.partial` is cleared away by the next one, or taken over; two at a
/// time refuse each other.
class OutputFolder {
 public:
  enum class Leftover : std::uint8_t { clear, take_over };

  /// @error usage  `path` exists and is no empty folder
  /// @error busy   another program writes it now
  /// @error io     the partial folder cannot be made or cleared
  static Result<OutputFolder> create(std::filesystem::path path,
                                     Leftover leftover = Leftover::clear);

  OutputFolder(OutputFolder&& other) noexcept;
  OutputFolder& operator=(OutputFolder&& other) noexcept;
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder();

  /// Where a file of the folder is to be written now (with AtomicFile, or SafetensorsWriter).
  std::filesystem::path file(std::string_view name) const { return partial_ / name; }

  /// A small file at once. @error io
  Result<void> write(std::string_view name, std::string_view text) const;

  /// Removes what an earlier program left. @error io
  Result<void> clear() const;

  /// Leaves what is written under `<path>.partial` when this object ends.
  void keep() { keep_ = true; }

  /// Gives the folder its name. @error io
  Result<void> commit();

  /// Gives its one file the name of the folder, and removes the rest. @error io
  Result<void> commit_file(std::string_view name);

 private:
  OutputFolder(std::filesystem::path path, std::filesystem::path partial, int lock);

  std::filesystem::path path_, partial_;
  bool keep_ = false;
  int lock_ = -1;  // descriptor of the partial folder, locked
};

}  // namespace tern::convert
