#include "model/mixers.h"

#include <algorithm>

#include "kernels/ops.h"

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

void linear(const Linear& w, std::span<const float> x, std::span<float> y, Chunk& chunk) {
  const std::size_t inputs = w.matrix.inputs(), outputs = w.matrix.outputs();
  kernels::apply(w.matrix, x.data(), chunk.tokens, inputs, y.data(), outputs, chunk.pool);
  if (w.bias.size() == 0) return;
  for (std::size_t t = 0; t < chunk.tokens; ++t)
    kernels::ops().add(y.data() + t * outputs, w.bias.data(), outputs);
}

}  // namespace tern::model
