// What config.json says about modules that MLX quantized, or turboquant.
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "quant/matrix.h"

namespace tern::model {

/// The map "quantization" (or "quantization_config", the same again): defaults, and overrides by
/// module path. Whether a module is quantized at all is decided by its `.scales`, not here.
class MlxConfig {
 public:
  /// @param config  must outlive this object
  explicit MlxConfig(const json::object& config);

  /// Format of the module at `path`, which may be keyed with or without "language_model.".
  /// The rotation of turboquant may stand at the top alone.
  /// @error unsupported  an unknown mode, or a rotation or version of turboquant that this program
  /// does not know. @error corrupt  a value of the wrong type.
  Result<quant::MlxFormat> format(std::string_view path) const;

 private:
  const json::object* map_ = nullptr;
};

}  // namespace tern::model
