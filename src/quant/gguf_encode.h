// How floats become blocks of GGUF: the other direction of gguf_blocks.h.
//
// A block type fixes how codes and scales mean numbers, and leaves open how both are chosen. The
// searched form tries many scales for each block, takes the codes nearest to the weights and the
// scale of least squares for them, and where scales are small integers under a common factor (the
// K types and IQ4_XS) searches both together, with the codes that they imply. The reference form
// is the plain rule that other programs mean by the type's name: largest magnitude to the last
// level.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"

namespace tern::quant {

enum class GgufFit : std::uint8_t {
  searched,   ///< least weighted squared error that the search finds
  reference,  ///< bytes of the PyPI package gguf
};

/// Whether rows of `type` can be written: f32, f16, bf16 and all block types; of the reference
/// form only f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0 and mxfp4 are defined.
bool can_encode_gguf(DType type, GgufFit fit = GgufFit::searched);

/// Codes a row of weights.
/// @param row         [n], finite, whole blocks of `type`; what an f16 scale cannot hold saturates
/// @param importance  [n], not negative: the weight of each column's squared error, in any unit
///                    (the mean of the squared input is the right one); or empty, all alike
/// @param out         the bytes of the row (checked_row_bytes)
/// @return the squared error of the row, unweighted
double encode_gguf_row(DType type, std::span<const float> row, std::span<const float> importance,
                       GgufFit fit, std::span<std::byte> out);

}  // namespace tern::quant
