#include "model/mixers.h"

#include "kernels/ops.h"

namespace tern::model {

void for_tokens(Chunk& chunk, const std::function<void(std::size_t)>& body) {
  const std::size_t grain = chunk.tokens / (4 * chunk.pool.size());
  chunk.pool.parallel_for(chunk.tokens, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t t = begin; t < end; ++t) body(t);
  });
}

void linear(const Linear& w, std::span<const float> x, std::span<float> y, Chunk& chunk) {
  const std::size_t inputs = w.matrix.inputs(), outputs = w.matrix.outputs();
  kernels::apply(w.matrix, x.data(), chunk.tokens, inputs, y.data(), outputs, chunk.pool);
  if (w.bias.size() == 0) return;
  for (std::size_t t = 0; t < chunk.tokens; ++t)
    kernels::ops().add(y.data() + t * outputs, w.bias.data(), outputs);
}

}  // namespace tern::model
