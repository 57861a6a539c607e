// GGUF version 3 (and 2): metadata and tensors of one file, or of one part of a split model.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/tensor_table.h"

namespace tern::formats {

/// Metadata arrays keep one element type; strings are views into the mapped file.
using GgufArray =
    std::variant<std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>,
                 std::vector<bool>, std::vector<std::string_view>>;
/// Integers are widened to 64 bits by signedness, floats to double.
using GgufValue =
    std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray>;

/// Key-value section, in file order. Views stay valid as long as the file is mapped.
class GgufMetadata {
 public:
  struct Entry {
    std::string_view key;
    GgufValue value;
    std::string_view raw = {};  ///< type number and value, as they lie in the file
  };

  const GgufValue* find(std::string_view key) const;
  const std::vector<Entry>& entries() const { return entries_; }

  /// Typed access; the error names the key and, for a wrong type, both types.
  /// @error not_found  no such key. @error corrupt  another type, or a negative number for uint.
  Result<std::uint64_t> get_uint(std::string_view key) const;
  Result<double> get_number(std::string_view key) const;
  Result<bool> get_bool(std::string_view key) const;
  Result<std::string_view> get_string(std::string_view key) const;
  /// A scalar or an array of integers, as unsigned numbers (a scalar gives one element).
  Result<std::vector<std::uint64_t>> get_uints(std::string_view key) const;
  Result<std::span<const std::string_view>> get_strings(std::string_view key) const;

  /// Used by the reader. @error corrupt  a key that is already here.
  Result<void> add(std::string_view key, GgufValue value, std::string_view raw = {});

 private:
  std::vector<Entry> entries_;
  std::map<std::string_view, std::size_t> index_;
};

/// The number of a type in GGUF files; nothing when they cannot hold it.
std::optional<std::uint32_t> ggml_type(DType type);

struct Gguf {
  GgufMetadata metadata;
  TensorTable tensors;
};

/// Limits of one file. A count is also refused when the rest of the file could not hold it.
inline constexpr std::uint64_t kMaxGgufKeys = 65'536;
inline constexpr std::uint64_t kMaxGgufArrayElements = std::uint64_t{1} << 24;  // over all arrays

/// Reads the header of `file` and proves its tensors. Nothing of the tensor data is touched.
/// @param name  of the file, for errors
/// @error corrupt      broken structure, with the byte offset; truncated files; counts and lengths
///                     beyond the end of the file.
/// @error unsupported  a version, a byte order or a tensor type that this engine does not know.
/// @error too_large    over kMaxGgufKeys, kMaxGgufArrayElements or TensorTable::kMaxTensors.
/// @source GGUF specification, version 3
Result<Gguf> read_gguf(Bytes file, std::string_view name);

}  // namespace tern::formats
