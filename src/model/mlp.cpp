// The dense feed-forward mixer: y = down relu^2(up x).
#include "kernels/ops.h"
#include "model/mixers.h"

namespace tern::model {

std::size_t mlp_scratch(std::size_t intermediate, std::size_t tokens) {
  return Scratch::padded(tokens * intermediate);
}

void mlp(const MlpWeights& w, const Input& x, std::span<float> y, Chunk& chunk) {
  const Scratch::Frame frame(chunk.scratch);
  const std::size_t intermediate = w.up_proj.matrix.outputs();
  const auto h = chunk.scratch.take(chunk.tokens * intermediate);
  linear(w.up_proj, x, h, chunk);
  for_tokens(chunk, intermediate, [&](std::size_t t) {
    kernels::ops().relu2(h.data() + t * intermediate, intermediate);
  });
  linear(w.down_proj, h, y, chunk);
}

}  // namespace tern::model
