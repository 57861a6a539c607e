// Writes safetensors files, tensor by tensor, so that the final name is either complete or absent.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "tensor/tensor.h"

namespace tern::formats {

/// One tensor of a file that is to be written.
struct TensorPlan {
  std::string name;
  DType type = DType::f32;
  Shape shape;  ///< outermost first
};

/// What stands before the data: the length of the header, and the header, padded so that the data
/// begin at a multiple of 8. The tensors' bytes follow one another in the order of `tensors`.
/// @param metadata  the header's __metadata__; "format": "pt" is what transformers asks for
/// @error unsupported  a type that safetensors has no name for (GGUF blocks)
/// @error usage        two tensors of one name, or one that is called "__metadata__"
/// @error too_large    a header over 100 MB, a shape whose size does not fit 64 bits, or more
///                     than TensorTable::kMaxTensors tensors
Result<std::string> safetensors_head(const std::vector<TensorPlan>& tensors,
                                     const std::map<std::string, std::string>& metadata,
                                     const std::string& where);

/// The header is written first, so all tensors are planned before the first byte; their data follow
/// in the order of the plan, in pieces of any size, and are never held here.
///
///   TERN_TRY(auto file, SafetensorsWriter::create("model.safetensors", plan));
///   for (const auto& tensor : plan) TERN_TRY_VOID(file.write(tensor.name, bytes_of(tensor)));
///   TERN_TRY_VOID(file.commit());
///
/// The data section starts at a multiple of 8, and so does every tensor whose predecessors have
/// sizes of such multiples: plan those of large types first.
/// @source safetensors README, "Format"
class SafetensorsWriter {
 public:
  /// @error io  the file cannot be made; else as safetensors_head
  static Result<SafetensorsWriter> create(std::filesystem::path path, std::vector<TensorPlan> plan,
                                          const std::map<std::string, std::string>& metadata = {});

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
  };
  SafetensorsWriter(AtomicFile file, std::vector<Part> parts, std::uint64_t bytes);
  void skip_complete();

  AtomicFile file_;
  std::vector<Part> parts_;
  std::size_t next_ = 0;  // first part that misses something
  std::uint64_t bytes_ = 0;
};

}  // namespace tern::formats
