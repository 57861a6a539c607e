#include "kernels/linear.h"

#include <algorithm>

#include "kernels/dot.h"

namespace tern::kernels {
namespace {

/// Rows [begin, end). Tokens go in tiles, outside the loop over rows, so that a tile of x stays in
/// the L2 cache while the weights stream past it.
void apply_rows(const quant::Matrix& weight, std::size_t begin, std::size_t end, const float* x,
                std::size_t tokens, std::size_t x_stride, float* y, std::size_t y_stride) {
  DotRows* const dot = dot_rows(weight, active_isa());
  for (std::size_t t = 0; t < tokens; t += kDotTokens)
    for (std::size_t r = begin; r < end; r += kDotRows)
      dot(weight, r, std::min(kDotRows, end - r), x + t * x_stride,
          std::min(kDotTokens, tokens - t), x_stride, y + t * y_stride + r, y_stride);
}

/// Below this many multiplications, waking threads takes longer than the work.
constexpr std::size_t kSerialWork = 1 << 16;

}  // namespace

void apply_serial(const quant::Matrix& weight, const float* x, std::size_t tokens,
                  std::size_t x_stride, float* y, std::size_t y_stride) {
  apply_rows(weight, 0, weight.rows, x, tokens, x_stride, y, y_stride);
}

void apply(const Linear& linear, const float* x, std::size_t tokens, std::size_t x_stride, float* y,
           std::size_t y_stride, ThreadPool& pool) {
  const quant::Matrix& weight = linear.weight;
  if (weight.rows * weight.cols * tokens < kSerialWork)
    return apply_serial(weight, x, tokens, x_stride, y, y_stride);
  // Four ranges for each thread, so that a slow one does not hold up the others.
  const std::size_t range = weight.rows / (4 * pool.size()) / kDotRows * kDotRows;
  pool.parallel_for(weight.rows, std::max(range, kDotRows),
                    [&](std::size_t begin, std::size_t end) {
                      apply_rows(weight, begin, end, x, tokens, x_stride, y, y_stride);
                    });
}

}  // namespace tern::kernels
