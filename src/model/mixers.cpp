#include "model/mixers.h"

#include <algorithm>

#include "kernels/ops.h"
#include "quant/turbo_weights.h"

namespace tern::model {

void parallel(Chunk& chunk, std::size_t count, std::size_t work,
              const std::function<void(std::size_t)>& body) {
  constexpr std::size_t kLeast = 32000;  // operations; waking a thread costs about as much
  const std::size_t grain =
      std::max(kLeast / std::max<std::size_t>(work, 1), count / (4 * chunk.pool.size()));
  chunk.pool.parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) body(i);
  });
}

void for_tokens(Chunk& chunk, std::size_t work, const std::function<void(std::size_t)>& body) {
  parallel(chunk, chunk.tokens, work, body);
}

void rotate_for(const quant::Matrix& matrix, std::span<float> x, Chunk& chunk) {
  if (!matrix.rotated()) return;
  const std::size_t width = matrix.cols;
  parallel(chunk, x.size() / width, width, [&](std::size_t row) {
    quant::rotate_inputs(matrix.signs, x.data() + row * width, width);
  });
}

void linear(const Linear& w, std::span<float> x, std::span<float> y, Chunk& chunk) {
  rotate_for(w.matrix.weight, x, chunk);
  linear(w, Input{x, x}, y, chunk);
}

void linear(const Linear& w, const Input& x, std::span<float> y, Chunk& chunk) {
  const std::size_t inputs = w.matrix.inputs(), outputs = w.matrix.outputs();
  kernels::apply(w.matrix, x.of(w.matrix.weight).data(), chunk.tokens, inputs, y.data(), outputs,
                 chunk.pool);
  if (w.bias.size() == 0) return;
  for (std::size_t t = 0; t < chunk.tokens; ++t)
    kernels::ops().add(y.data() + t * outputs, w.bias.data(), outputs);
}

}  // namespace tern::model
