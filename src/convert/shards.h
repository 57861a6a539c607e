// Tensors of a model, cut into safetensors files.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "convert/plan.h"

namespace tern::convert {

/// Puts `tensors` into files of at most `shard_bytes` (a tensor that is larger has one of its own):
/// model.safetensors, or model-0000N-of-0000M.safetensors and their index.
/// @param metadata  of each file
/// @error as formats::safetensors_head
Result<void> add_shards(Plan& plan, std::vector<PlannedTensor> tensors, std::uint64_t shard_bytes,
                        const std::map<std::string, std::string>& metadata);

}  // namespace tern::convert
