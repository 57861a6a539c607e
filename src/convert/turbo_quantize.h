// A model of plain weights in, the same model with TurboQuant weights out (quant/turbo_weights.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "formats/checkpoint.h"

namespace tern::convert {

struct TurboQuantizeOptions {
  std::uint32_t bits = 4;       ///< of a code: 2, 3, 4 or 5
  std::uint32_t head_bits = 4;  ///< of embeddings and lm_head, which lose most
  std::uint64_t rotation_seed = 0;
  std::vector<std::string> keep = {};  ///< a matrix whose name contains one of these stays plain
};

struct TurboQuantizeReport {
  std::size_t matrices = 0;       ///< coded
  std::uint64_t weights = 0;      ///< in them
  std::uint64_t coded_bytes = 0;  ///< codes and scales
  std::uint64_t file_bytes = 0;   ///< of model.safetensors
  double error = 0;               ///< |W - W'|^2 / |W|^2 over all of them
  std::vector<std::string> kept;  ///< matrices left plain: by wish, or no multiple of 64 wide
};

/// Writes the folder `destination`: model.safetensors, config.json with a "quantization" map, and
/// the small files that stand beside the source. What is coded: embeddings, lm_head and every
/// linear layer of the text model but the routers; all else is copied byte for byte.
///
/// @param progress  (weights done, of), from one thread; false stops
/// @error unsupported  a GGUF source, or one that is quantized already; weights beyond 8000
/// @error corrupt      weights that are not finite; the tensor is named
/// @error mismatch     the source is no model of the family (Weights::load)
/// @error usage, busy, io  as OutputFolder
/// @error cancelled    `progress` said so; nothing is left behind
Result<TurboQuantizeReport> turbo_quantize(
    const formats::Checkpoint& source, const std::filesystem::path& destination,
    const TurboQuantizeOptions& options, ThreadPool& pool,
    const std::function<bool(std::uint64_t, std::uint64_t)>& progress = {});

}  // namespace tern::convert
