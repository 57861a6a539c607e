// The files of a model, without loading it.
#pragma once
#include <string>
#include <tern/tern.hpp>

#include "base/error.h"
#include "engine/model_source.h"
#include "text/tokenizer.h"

namespace tern::cli {

/// The tokenizer of a model, of a tokenizer.json, or of a folder that holds one; weights are not
/// needed.
Result<text::Tokenizer> open_tokenizer(const std::string& model,
                                       const engine::FindOptions& find = {});

}  // namespace tern::cli
