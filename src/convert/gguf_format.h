// The block types of GGUF as rows that a conversion writes.
#pragma once
#include "convert/row_format.h"
#include "quant/gguf_encode.h"

namespace tern::convert {

/// f32, f16, bf16, or a block type; rows that hold the same codes already are taken as they are,
/// MLX's mxfp4 among them.
/// @error unsupported  a type, or a form of it, that has no encoder
Result<RowFormatPtr> gguf_format(DType type, quant::GgufFit fit);

}  // namespace tern::convert
