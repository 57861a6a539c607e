// safetensors: one file. Shards and their index are put together by checkpoint.h.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/tensor_table.h"

namespace tern::formats {

struct Safetensors {
  std::map<std::string, std::string> metadata;  ///< the header's __metadata__
  TensorTable tensors;
};

/// Reads the header of `file` and proves its tensors: every byte of the data section belongs to
/// exactly one of them. Nothing is copied.
/// @param name  of the file, for errors
/// @error corrupt      broken structure, or a file that was cut.
/// @error unsupported  a dtype, or more axes, than this engine knows.
/// @error too_large    a header over 100 MB (as in the reference) or over kMaxTensors tensors.
/// @source safetensors README, "Format"
Result<Safetensors> read_safetensors(Bytes file, std::string_view name);

/// How a header spells a type: "BF16". Nothing for one that safetensors does not have.
std::optional<std::string_view> safetensors_type(DType type);

}  // namespace tern::formats
