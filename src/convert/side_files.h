// The small files beside the weights: copied, or made from GGUF metadata.
#pragma once
#include <string_view>
#include <vector>

#include "base/error.h"
#include "convert/plan.h"

namespace tern::convert {

/// The pre-tokenizer expression of mistralai/mistral-common's tekken_240718.json, which GGUF files
/// call "pixtral" or "tekken".
inline constexpr std::string_view kTekkenExpression =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Tokenizer, chat template, generation settings, model card and the like; not config.json.
/// From GGUF: tokenizer.json, tokenizer_config.json, generation_config.json and
/// chat_template.jinja. A file without a tokenizer gives none.
/// @error unsupported  a tokenizer of GGUF that is no byte-level BPE with a known expression
/// @error as Checkpoint::side_file
Result<std::vector<SmallFile>> side_files(const Source& source);

}  // namespace tern::convert
