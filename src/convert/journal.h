// What a conversion has finished, on disk, so that a later run can go on from there.
//
// A text file: a line that names the plan, then one line for each point that was reached, whose
// bytes were on the disk before. The last complete line counts.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>

#include "base/error.h"
#include "convert/part_file.h"

namespace tern::convert {

/// How far a conversion is: whole files, and in the next one whole tensors.
struct Point {
  std::uint64_t files = 0;    ///< complete
  std::uint64_t tensors = 0;  ///< of the file after them
  std::uint64_t bytes = 0;    ///< of that file
  // Of the report:
  std::uint64_t coded = 0;
  double error = 0, square = 0;
};

class Journal {
 public:
  static constexpr std::string_view kName = "tern-journal";

  /// An empty one, for a plan of that fingerprint. @error io
  static Result<Journal> create(const std::filesystem::path& folder, std::string_view fingerprint);

  /// That of an earlier run, and where it got to. A folder without a journal gives an empty one.
  /// @error usage  the earlier run had another plan
  /// @error io
  static Result<Journal> open(const std::filesystem::path& folder, std::string_view fingerprint,
                              Point& point);

  /// @error io
  Result<void> add(const Point& point);

 private:
  explicit Journal(PartFile file) : file_(std::move(file)) {}
  PartFile file_;
};

}  // namespace tern::convert
