// y = W x for a matrix in whatever format its file holds.
//
// Weights are decoded to float32 exactly and multiplied with float32 activations. Each element of y
// has one order of summation for each instruction set, so it does not depend on how many rows,
// tokens or threads ran beside it: batched, chunked and single-token results agree bit for bit.
#pragma once
#include <cstddef>

#include "base/thread_pool.h"
#include "quant/matrix.h"

namespace tern::kernels {

/// A linear layer without bias.
struct Linear {
  quant::Matrix weight;  ///< [outputs, inputs]

  std::size_t outputs() const { return weight.rows; }
  std::size_t inputs() const { return weight.cols; }
};

/// y[t, r] = sum over c of W[r, c] x[t, c], on all threads of `pool`.
///
/// @param x  [tokens, inputs], `x_stride` floats from token to token; must not overlap y
/// @param y  [tokens, outputs], `y_stride` floats from token to token
/// On avx2, avx512 and neon the sum runs in 16 float32 lanes (lane c mod 16, fused multiply-add,
/// columns rising, lanes added as a tree), so these agree with each other; scalar sums in double.
void apply(const Linear& linear, const float* x, std::size_t tokens, std::size_t x_stride, float* y,
           std::size_t y_stride, ThreadPool& pool);

/// The same on the calling thread, for callers that are inside a parallel loop already, for example
/// with one expert's slice. Same result, bit for bit. Uses 24 KiB of stack and no heap.
void apply_serial(const quant::Matrix& weight, const float* x, std::size_t tokens,
                  std::size_t x_stride, float* y, std::size_t y_stride);

}  // namespace tern::kernels
