// config.json of a model that is written: that of the source with what has changed, or one that is
// made from GGUF metadata.
#pragma once
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "convert/source.h"

namespace tern::convert {

struct ConfigChanges {
  /// The map "quantization", which MLX wants under "quantization_config" as well; empty: the model
  /// is plain now.
  json::object quantization = {};
  bool repeated = true;    ///< under both names
  bool text_only = false;  ///< the text model's own configuration, without the rest of an Omni one
  std::string dtype = {};  ///< "bfloat16": of the plain weights; empty: as it is
};

/// @error not_found  safetensors without a config.json
Result<std::string> config_text(const Source& source, const ConfigChanges& changes);

}  // namespace tern::convert
