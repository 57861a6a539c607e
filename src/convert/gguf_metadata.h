// The metadata of a GGUF file, as llama.cpp's converter writes them for nemotron_h and
// nemotron_h_moe: sizes of the model, tokenizer, chat template, name and license.
#pragma once
#include <string>
#include <vector>

#include "base/error.h"
#include "convert/gguf_recipe.h"
#include "convert/source.h"
#include "formats/gguf_writer.h"

namespace tern::convert {

/// "nemotron_h_moe", or "nemotron_h" for models without experts.
std::string gguf_architecture(const model::Config& config);

/// Architecture, type ("model", "mmproj"), name, and the license of the source's model card.
/// @error as Checkpoint::side_file
Result<std::vector<formats::GgufKey>> general_keys(const Source& source, std::string architecture,
                                                   std::string type);

/// All keys, but general.alignment. A GGUF source's own are taken byte for byte, those excepted
/// that the new file's types decide.
/// @param warnings  gets what a GGUF file has no key for, or a missing tokenizer
/// @error unsupported  a tokenizer that is no byte-level BPE with the family's expression
/// @error corrupt      a tokenizer.json or tokenizer_config.json that does not add up
/// @error as Checkpoint::side_file
Result<std::vector<formats::GgufKey>> gguf_metadata(const Source& source, const GgufRecipe& recipe,
                                                    std::vector<std::string>& warnings);

/// Of `tokenizer.json`: model, expression, tokens, their types, merges and special tokens.
/// Rows of the embeddings that no token has are called [PADn]. Nothing when the checkpoint has no
/// tokenizer.json. Errors as above.
Result<std::vector<formats::GgufKey>> gguf_tokenizer(const formats::Checkpoint& checkpoint,
                                                     const model::Config& config);

}  // namespace tern::convert
