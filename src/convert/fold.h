// A model of which the attention projections contain the rotations of the cache, in the formats
// that it has.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/error.h"
#include "base/thread_pool.h"
#include "convert/plan.h"
#include "model/fold.h"

namespace tern::convert {

struct FoldOptions {
  model::Fold fold;
  bool bf16 = false;  ///< quantized projections become BF16; else they get their own type again
  /// The folder of a safetensors model, whose other files are copied; none: its tokenizer, template
  /// and settings are.
  std::optional<std::filesystem::path> folder = {};
  std::uint64_t shard_bytes = std::uint64_t{5} << 30;  ///< of one file, at most, if a tensor fits
  /// (projections done, of), from one thread; false stops
  std::function<bool(std::uint64_t, std::uint64_t)> progress = {};
};

struct FoldPlan {
  Plan plan;  ///< for convert(); a folder of safetensors, or one GGUF file
  std::uint64_t folded = 0, copied = 0;  ///< tensors of the source
  /// |W - W'|^2 / |W|^2 of the folded matrices W, by the type that they are stored in.
  double error = 0;
};

/// Rotates the projections in float32 and codes them: BF16 and F16 are rounded once more (relative
/// 2^-9 and 2^-11 of each weight), quantized ones are quantized once more, and a warning of the
/// plan says so. The plan holds their bytes. Every other tensor is taken as it is. config.json gets
/// "tern_kv_rotation", GGUF metadata "tern.kv_rotation"; to any other reader the result is a model
/// of the same kind and the same outputs.
///
/// @error usage        nothing to fold, a model that is folded already, a rotation that has no form
///                     for heads of this size
/// @error corrupt      a weight that is not finite
/// @error unsupported  a weight that is too large for its type once it is rotated
/// @error cancelled, as Checkpoint::side_file
Result<FoldPlan> plan_fold(const Source& source, const FoldOptions& options, ThreadPool& pool);

}  // namespace tern::convert
