// The dense feed-forward mixer: y = down relu^2(up x).
#include "kernels/ops.h"
#include "model/mixers.h"

namespace tern::model {

std::size_t mlp_scratch(std::size_t intermediate, std::size_t tokens) {
  return Scratch::padded(tokens * intermediate);
}

void mlp(const MlpWeights& w, const Input& x, std::span<float> y, Step& step) {
  const Scratch::Frame frame(step.scratch);
  const std::size_t intermediate = w.up_proj.matrix.outputs();
  const auto h = step.scratch.take(step.tokens * intermediate);
  linear(w.up_proj, x, h, step);
  for_tokens(step, intermediate, [&](std::size_t t) {
    kernels::ops().relu2(h.data() + t * intermediate, intermediate);
  });
  linear(w.down_proj, h, y, step);
}

}  // namespace tern::model
