// A few rows of a stored matrix times tokens: one function for each format and instruction set.
#pragma once
#include <cstddef>

#include "base/cpu.h"
#include "quant/matrix.h"

namespace tern::kernels {

/// y[t * y_stride + r] = sum over c of W[first_row + r, c] x[t * x_stride + c], for r < rows and
/// t < tokens. `rows` is 1 to kDotRows and `tokens` 1 to kDotTokens; see linear.h for the order of
/// summation.
using DotRows = void(const quant::Matrix& weight, std::size_t first_row, std::size_t rows,
                     const float* x, std::size_t tokens, std::size_t x_stride, float* y,
                     std::size_t y_stride);

inline constexpr std::size_t kDotRows = 4;     ///< decoded together, into 8 KiB
inline constexpr std::size_t kDotTokens = 64;  ///< whose sums stay in 16 KiB
inline constexpr std::size_t kDotCols = 512;   ///< decoded at a time; a multiple of every block

/// The function for the format of `weight`.
DotRows* dot_rows(const quant::Matrix& weight, Isa isa);

}  // namespace tern::kernels
