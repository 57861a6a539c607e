// A GGUF file of any recipe, from any model.
#pragma once
#include "convert/target.h"

namespace tern::convert {

/// One file. Target::name is "gguf-" and the name of a recipe (gguf_recipe.h); words of --override
/// are types: "q8_0", "iq4_nl", "bf16".
/// @error usage        options that GGUF has no use for, or an override that matches nothing
/// @error unsupported  a tokenizer that GGUF has no name for; a reference form that does not exist
/// @error mismatch     an importance matrix of another model
Result<Plan> plan_gguf(const Source& source, const Target& target, const PlanOptions& options);

}  // namespace tern::convert
