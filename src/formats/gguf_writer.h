// Writes GGUF files, version 3: the head at once, then tensor by tensor, so that the final name is
// either complete or absent.
#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "formats/safetensors_writer.h"

namespace tern::formats {

/// Every tensor of a written file begins at a multiple of it, from the start of the file too.
inline constexpr std::uint64_t kGgufAlignment = 32;

/// Type number and value as they lie in another file (GgufMetadata::Entry::raw).
struct GgufRaw {
  std::string_view bytes;
};

template <class... Scalars>
using GgufFieldOf = std::variant<Scalars..., std::vector<Scalars>..., GgufRaw>;
/// A metadata value in the type that the file gets: a scalar, an array, or bytes of another file.
using GgufField =
    GgufFieldOf<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t,
                float, bool, std::string, std::uint64_t, std::int64_t, double>;

struct GgufKey {
  std::string key;
  GgufField value;
};

/// Everything before the first byte of tensor data, padding included: a multiple of
/// kGgufAlignment. The data of each tensor follow in the order of `tensors`, each padded with zeros
/// to the next multiple.
/// @error unsupported  a type that GGUF has no number for, or a tensor of no or over 4 axes
/// @error usage        two keys or two tensors of one name, an axis of length 0, or a key
///                     "general.alignment", which is not the caller's to choose
/// @error too_large    rows that are no whole number of blocks, or sizes that do not fit 64 bits;
///                     more keys, array elements or tensors than are read (gguf.h)
/// @source GGUF specification, version 3
Result<std::string> gguf_head(const std::vector<GgufKey>& metadata,
                              const std::vector<TensorPlan>& tensors);

/// As SafetensorsWriter: all tensors are planned before the first byte, and their data follow in
/// pieces of any size, in the order of the plan.
class GgufWriter {
 public:
  /// Errors as gguf_head, and io: the file cannot be made
  static Result<GgufWriter> create(std::filesystem::path path, const std::vector<GgufKey>& metadata,
                                   std::vector<TensorPlan> plan);

  /// Appends to the data of `tensor`: the first one of the plan that is not complete, else, or with
  /// more bytes than it still needs, the program is at fault (TERN_CHECK).
  /// @error io  for example a full disk
  Result<void> write(std::string_view tensor, std::span<const std::byte> bytes);

  /// All tensors are there (TERN_CHECK): makes the file durable and gives it its final name.
  Result<void> commit();

  /// Of the whole file.
  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Part {
    std::string name;
    std::uint64_t missing;  // bytes
    std::uint64_t padding;  // bytes after it
  };
  GgufWriter(AtomicFile file, std::vector<Part> parts, std::uint64_t bytes);

  AtomicFile file_;
  std::vector<Part> parts_;
  std::size_t next_ = 0;  // first part that misses something
  std::uint64_t bytes_ = 0;
};

}  // namespace tern::formats
