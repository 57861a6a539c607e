// MLX's quantized formats, and turboquant's, as rows that a conversion writes.
#pragma once
#include <cstdint>

#include "convert/row_format.h"
#include "quant/matrix.h"
#include "quant/mlx_encode.h"

namespace tern::convert {

/// Affine, mxfp4, mxfp8 or nvfp4; scales and biases of affine in bf16.
RowFormatPtr mlx_format(const quant::MlxFormat& format, quant::Encoder encoder);

/// TurboQuant weights (quant/turbo_weights.h).
RowFormatPtr turbo_format(std::uint32_t bits, std::uint64_t rotation_seed);

}  // namespace tern::convert
