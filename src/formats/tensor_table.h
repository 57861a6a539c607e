// The narrow waist between files and the model: names to tensors whose bytes are proved.
#pragma once
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "tensor/tensor.h"

namespace tern::formats {

/// What a header claims about one tensor, before anything is proved.
struct TensorClaim {
  std::string name;
  DType type = DType::f32;
  Shape shape;              ///< outermost first
  std::uint64_t begin = 0;  ///< first byte, relative to the data section
  std::uint64_t end = 0;    ///< one past the last byte
};

/// Rules that differ between the containers.
struct TableRules {
  std::uint64_t alignment = 1;      ///< every `begin` is a multiple; a power of two
  bool cover_data_exactly = false;  ///< no gaps and no trailing bytes, but padding to `alignment`
};

/// Every tensor of a checkpoint. A table that exists is sound: each tensor's bytes lie inside its
/// file, have exactly the size of its shape and type, overlap no other tensor, and start aligned;
/// names are unique. Does not own the bytes (see Checkpoint). Only offsets inside the data section
/// are aligned: safetensors data may begin at any address, so read it with memcpy.
class TensorTable {
 public:
  /// Proves `claims` against the data section of one file. `file` names it in errors.
  /// @error corrupt  anything that does not add up; the first offender in file order is named.
  /// @error too_large  more than kMaxTensors.
  static Result<TensorTable> prove(std::vector<TensorClaim> claims, Bytes data,
                                   const TableRules& rules, std::string_view file);

  /// In one file; the largest published models have half as many.
  static constexpr std::uint64_t kMaxTensors = 131'072;

  /// Adds the tensors of another shard. @error corrupt  a name that is already here; nothing has
  /// been added then.
  Result<void> merge(TensorTable other, std::string_view file);

  /// Null when there is none of that name.
  const Tensor* find(std::string_view name) const;

  /// In the order of the files and of the data inside them.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  std::size_t size() const { return tensors_.size(); }

 private:
  std::vector<Tensor> tensors_;
  std::vector<std::size_t> by_name_;  // indices into tensors_; sorted, so that no choice of names
                                      // makes look-ups slow
};

}  // namespace tern::formats
