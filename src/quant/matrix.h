// A stored matrix in whatever format its file holds, and how its rows become floats.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/cpu.h"
#include "base/error.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace tern::quant {

/// How a row of weights is coded. Plain and GGUF types as their DType; MLX's four modes and
/// turboquant keep codes and scales in separate tensors.
enum class Scheme : std::uint8_t {
  f32,
  f16,
  bf16,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  mxfp4,
  mlx_affine,  ///< w = scale * q + bias; scale and bias for each group
  mlx_mxfp4,   ///< w = 2^(s-127) * E2M1(q)
  mlx_mxfp8,   ///< w = 2^(s-127) * E4M3(q)
  mlx_nvfp4,   ///< w = E4M3(s) * E2M1(q)
  turboquant,  ///< w = scale * level(q), for inputs that are rotated first (turbo_weights.h)
};
std::string_view name(Scheme scheme);

/// W[rows, cols], row-major, not owned. Rows are contiguous in every plane. Stacked experts
/// [E, rows, cols] are one matrix of E * rows rows; `slice` cuts one expert out.
struct Matrix {
  Scheme scheme = Scheme::f32;
  std::size_t rows = 0;
  std::size_t cols = 0;
  const std::byte* codes = nullptr;  ///< values or codes; `code_stride` bytes a row
  std::size_t code_stride = 0;
  // MLX modes and turboquant only:
  std::uint32_t bits = 0;             ///< of one code: 2, 3, 4, 5, 6, 8
  std::uint32_t group = 0;            ///< columns that share a scale
  const std::byte* scales = nullptr;  ///< cols / group of them a row
  const std::byte* biases = nullptr;  ///< affine only; laid out as the scales
  std::size_t scale_stride = 0;       ///< bytes a row of scales
  DType scale_type = DType::bf16;     ///< f32, f16 or bf16 (affine); f16 (turboquant); u8
  const float* signs = nullptr;       ///< turboquant: those of rotate_inputs; else null

  /// Whether the rows are those of W R^T: apply them to R x (rotate_inputs), and take R^T of a row
  /// (unrotate_inputs) to have it in the basis of the inputs.
  bool rotated() const { return signs != nullptr; }

  /// Rows [first, first + count).
  Matrix slice(std::size_t first, std::size_t count) const;

  /// Columns [first, first + count); both are multiples of 256, or `count` reaches the last column.
  Matrix columns(std::size_t first, std::size_t count) const;

  /// Bytes of the codes (and scales and biases) that the rows and columns of this matrix occupy.
  std::uint64_t bytes() const;
};

/// The scales (and biases) tensors that stand beside an MLX weight.
struct MlxPlanes {
  const Tensor* weight = nullptr;
  const Tensor* scales = nullptr;
  const Tensor* biases = nullptr;  ///< null except in mode affine
};

/// Mode, bits and group size as config.json gives them for one module.
struct MlxFormat {
  Scheme scheme = Scheme::mlx_affine;
  std::uint32_t bits = 4;
  std::uint32_t group = 64;
  const float* signs = nullptr;  ///< turboquant: rht64_signs of its seed
};

/// A plain or GGUF tensor of 2 axes, or 3 (stacked experts), as a matrix.
/// @error unsupported  a type that cannot hold weights (integers). @error mismatch  another number
/// of axes, rows that are no whole number of blocks, or bytes that do not fill the shape.
Result<Matrix> matrix_of(const Tensor& tensor);

/// A matrix that MLX quantized, or turboquant in the same planes. Shapes must fit each other and
/// `format`; when `format` disagrees with the shapes, the error says what the shapes imply.
/// @error mismatch  planes that do not fit. @error unsupported  bits or group outside the format.
Result<Matrix> matrix_of(const MlxPlanes& planes, const MlxFormat& format);

/// Decodes row `row` into `out` [cols], exactly as the format defines it, in float32. Reads no byte
/// outside the row's codes, scales and biases.
using DecodeRow = void(const Matrix& matrix, std::size_t row, std::span<float> out);

/// The decoder of a scheme for an instruction set. All of them give the same floats, bit for bit (a
/// NaN may differ in its payload).
DecodeRow* row_decoder(const Matrix& matrix, Isa isa);

}  // namespace tern::quant
