// y = W x for a matrix in whatever format its file holds.
//
// Formats whose codes are small integers are multiplied as such, with activations rounded to 16
// bits for each 32 of them (fixed.h); the others, and all of them on scalar and neon, are decoded
// to float32 exactly and multiplied with float32 activations (dot.h). Each element of y has one
// order of summation, so it does not depend on how many rows, tokens or threads ran beside it:
// batched, chunked and single-token results agree bit for bit, and so do avx2 and avx512.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "kernels/fixed.h"
#include "quant/matrix.h"

namespace tern::kernels {

/// A linear layer without bias.
struct Linear {
  quant::Matrix weight;  ///< [outputs, inputs]

  std::size_t outputs() const { return weight.rows; }
  std::size_t inputs() const { return weight.cols; }
};

/// Tokens laid out to meet the rows of a matrix. Memory is kept from one use to the next.
class Activations {
 public:
  /// @param x  [tokens, weight.cols], `x_stride` floats from token to token; must stay as it is
  /// @param pool  to share the work with; null on a thread that is inside a parallel loop
  void prepare(const quant::Matrix& weight, const float* x, std::size_t tokens,
               std::size_t x_stride, ThreadPool* pool);

  /// The same for rows index[0], index[1] ... of x, on the calling thread.
  void gather(const quant::Matrix& weight, const float* x, std::span<const std::uint32_t> index,
              std::size_t x_stride);

  /// Whether what was prepared for `a` would be the same for `b`.
  static bool alike(const quant::Matrix& a, const quant::Matrix& b);

  std::size_t tokens() const { return tokens_; }

  /// y[t * y_stride + r - begin] for every token and rows [begin, end) of a matrix that is alike.
  void multiply(const quant::Matrix& weight, std::size_t begin, std::size_t end, float* y,
                std::size_t y_stride) const;

 private:
  template <class Row>
  void lay_out(const FixedKernels& kernels, std::size_t cols, const Row& row, ThreadPool* pool);

  const float* x_ = nullptr;
  std::size_t tokens_ = 0, x_stride_ = 0;
  std::size_t tiled_ = 0;   // the first so many tokens are in tiles, the others in units
  std::size_t stride_ = 0;  // tiles or units, from one to the next
  Buffer<float> gathered_;  // for formats without integers
  Buffer<FixedUnit> units_;
  Buffer<FixedTile> tiles_;
};

/// y[t, r] = sum over c of W[r, c] x[t, c], on all threads of `pool`.
///
/// @param x  [tokens, inputs], `x_stride` floats from token to token; must not overlap y
/// @param y  [tokens, outputs], `y_stride` floats from token to token
/// Error against scalar, which sums in double: 2^-16 of the largest x in a block of 32, for each
/// weight of the block.
void apply(const Linear& linear, const float* x, std::size_t tokens, std::size_t x_stride, float* y,
           std::size_t y_stride, ThreadPool& pool);

/// The same on the calling thread, for callers that are inside a parallel loop already, for example
/// with one expert's slice. Same result, bit for bit.
void apply_serial(const quant::Matrix& weight, const float* x, std::size_t tokens,
                  std::size_t x_stride, float* y, std::size_t y_stride);

}  // namespace tern::kernels
