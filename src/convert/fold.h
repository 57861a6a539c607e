// Writes a model folder whose attention projections contain the rotations of the cache.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "model/fold.h"

namespace tern::convert {

struct FoldTask {
  model::Fold fold;
  /// The folder of the checkpoint, whose other files are copied; none: its tokenizer, template and
  /// settings are.
  std::optional<std::filesystem::path> folder;
  std::filesystem::path destination;                   ///< a new folder
  std::uint64_t shard_bytes = std::uint64_t{5} << 30;  ///< of one file, at most, if a tensor fits
};

struct FoldResult {
  std::size_t folded = 0, copied = 0;  ///< tensors
  std::uint64_t bytes = 0;             ///< of the weights
  std::size_t files = 0;               ///< of weights
};

/// Folds tensor by tensor, keeping each one's type: BF16 and F16 projections are rounded once more
/// (relative 2^-9 and 2^-11 of each weight). Every other tensor is copied as it is. config.json
/// gets "tern_kv_rotation"; to any other reader the folder is a plain model with the same outputs.
///
/// @param progress  bytes done, of all
/// @param stop      asked between tensors
/// @error unsupported  GGUF, or projections that are quantized
/// @error usage        nothing to fold, a model that is folded already, a destination that exists
/// @error io           for example too little room on the disk, known before anything is written
/// @error cancelled; else as Model::load. Nothing is left under the destination then.
Result<FoldResult> fold(const formats::Checkpoint& checkpoint, const FoldTask& task,
                        const std::function<void(std::uint64_t, std::uint64_t)>& progress,
                        const std::function<bool()>& stop);

}  // namespace tern::convert
