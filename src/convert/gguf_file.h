// Tensors of a model in one GGUF file.
#pragma once
#include <string>
#include <vector>

#include "convert/plan.h"
#include "formats/gguf_writer.h"

namespace tern::convert {

/// Makes the plan that of a single file. @param metadata  all keys, but general.alignment
/// @error as formats::gguf_head
Result<void> add_gguf_file(Plan& plan, std::string name, std::vector<PlannedTensor> tensors,
                           const std::vector<formats::GgufKey>& metadata);

}  // namespace tern::convert
