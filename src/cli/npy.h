// NumPy's file format, version 1.0, for float32 matrices that are written row by row.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/atomic_file.h"

namespace tern::cli {

/// Magic, version and dictionary of a little-endian float32 array [rows, columns] in C order,
/// padded to a multiple of 64 bytes.
/// @source NumPy enhancement proposal 1, "A Simple File Format for NumPy Arrays"
std::string npy_header(std::uint64_t rows, std::uint64_t columns);

/// Writes an array whose size is known before its rows are. The final name is complete or absent.
class NpyWriter {
 public:
  /// @error io  the file cannot be made
  static Result<NpyWriter> create(const std::filesystem::path& path, std::uint64_t rows,
                                  std::uint64_t columns);

  /// Appends whole rows.
  Result<void> write(std::span<const float> values);
  /// All rows are there.
  Result<void> commit();

 private:
  NpyWriter(AtomicFile file, std::uint64_t values) : file_(std::move(file)), missing_(values) {}

  AtomicFile file_;
  std::uint64_t missing_;  // values
};

}  // namespace tern::cli
