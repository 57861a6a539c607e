// Bounds of a configuration, shared by its two readers.
#pragma once
#include "model/config.h"

namespace tern::model {

inline constexpr std::size_t kMaxLayers = 4096;
inline constexpr std::size_t kMaxConvKernel = 64;

/// Whether the sizes are sane and fit each other; the errors name key and values.
/// @error mismatch, too_large
Result<void> check(const Config& config, std::string_view where);

}  // namespace tern::model
