// Models in several files: safetensors shards with their index, and the parts of a split GGUF.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "formats/folder.h"
#include "formats/gguf.h"
#include "formats/tensor_table.h"

namespace tern::formats {

inline constexpr std::size_t kMaxFiles = 1024;  ///< of one model

/// A table whose tensors lie in several files of one folder.
struct ShardedTensors {
  std::vector<std::string> files;  ///< in order
  GgufMetadata metadata;           ///< of the first part of a GGUF
  TensorTable tensors;
};

/// Opens the shards that `index` (the text of `index_name`) names in its "weight_map".
///
/// A shard must be a plain file name inside the folder, and hold every tensor that is mapped to it.
/// Tensors of a shard that the index does not list are kept, as transformers does: the model knows
/// which ones it needs. A tensor in two shards is refused, since it is unclear which one counts.
/// @error corrupt    the index or a shard breaks its format, or they contradict each other.
/// @error not_found  shards that the index names; all of them are listed.
/// @error too_large  over kMaxFiles shards.
Result<ShardedTensors> open_shards(Folder& folder, std::string_view index,
                                   std::string_view index_name);

/// "model-00002-of-00005.gguf" is part 2 of 5 of "model".
struct PartName {
  std::string stem;
  std::uint32_t part;
  std::uint32_t count;
  std::string of_part(std::uint32_t other) const;
};
std::optional<PartName> parse_part_name(std::string_view name);

/// Opens a GGUF file; when `name` is that of a part, all parts beside it.
/// @error corrupt    parts that contradict their names or each other.
/// @error not_found  the file, or parts; all of them are listed.
/// @error too_large  over kMaxFiles parts.
Result<ShardedTensors> open_gguf(Folder& folder, std::string_view name);

}  // namespace tern::formats
