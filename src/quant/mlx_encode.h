// Encoders of MLX's quantization modes: floats to codes, scales and biases (mlx_modes.h says what
// they mean).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/matrix.h"

namespace tern::quant {

/// How the scale (and bias) of a group are chosen; the format is the same.
enum class Encoder : std::uint8_t {
  /// As mlx.core.quantize does it for weights of the scales' type, byte for byte (float modes: for
  /// bf16 weights). Affine: the larger end of the range is exact and 0 nearly so. Floats: the
  /// largest magnitude fits the largest code, with the next power of two (mxfp4, mxfp8).
  reference,
  /// The least squared error that a search finds: affine from several widths of the range, each
  /// improved by least squares; floats over all scales near that of the reference, which is one of
  /// the candidates in every mode, so that no group gets worse.
  searched,
};

/// Codes a row.
/// @param w           [n], finite, n a multiple of format.group
/// @param importance  of each column's squared error, [n] and not negative, or empty: all alike.
///                    The reference has no use for it
/// @param scale_type  affine: of scales and biases, bf16, f16 or f32
/// @param codes       n bits / 8 bytes
/// @param scales      n / group numbers; u8 in the float modes
/// @param biases      affine only; as the scales
/// @return the squared error of the row, without weights
double encode_mlx_row(std::span<const float> w, std::span<const float> importance,
                      const MlxFormat& format, DType scale_type, Encoder encoder,
                      std::span<std::byte> codes, std::span<std::byte> scales,
                      std::span<std::byte> biases);

/// A row of GGUF's MXFP4 blocks as MLX's mxfp4: the same codes and exponents in another order.
void mxfp4_to_mlx(std::span<const std::byte> blocks, std::span<std::byte> codes,
                  std::span<std::byte> scales);
/// And back.
void mxfp4_from_mlx(std::span<const std::byte> codes, std::span<const std::byte> scales,
                    std::span<std::byte> blocks);

}  // namespace tern::quant
