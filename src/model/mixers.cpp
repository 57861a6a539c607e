#include "model/mixers.h"

#include <algorithm>
#include <atomic>

#include "kernels/ops.h"
#include "quant/turbo_weights.h"

namespace tern::model {

namespace {

constexpr std::size_t kLeast = 32000;  // operations; waking a thread costs about as much

}  // namespace

void parallel(Step& step, std::size_t count, std::size_t work,
              const std::function<void(std::size_t)>& body) {
  const std::size_t grain =
      std::max(kLeast / std::max<std::size_t>(work, 1), count / (4 * step.pool.size()));
  step.pool.parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) body(i);
  });
}

void parallel(Step& step, std::size_t count, std::size_t work, std::size_t floats,
              const std::function<void(std::size_t, std::span<float>)>& body) {
  const std::size_t threads =
      std::min({step.pool.size(), count, 1 + count * std::max<std::size_t>(work, 1) / kLeast});
  const Scratch::Frame frame(step.scratch);
  const std::size_t each = Scratch::padded(floats);
  const auto scratch = step.scratch.take(threads * each);
  std::atomic<std::size_t> next = 0;
  step.pool.parallel_for(threads, 1, [&](std::size_t thread, std::size_t) {
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;)
      body(i, scratch.subspan(thread * each, each));
  });
}

void for_tokens(Step& step, std::size_t work, const std::function<void(std::size_t)>& body) {
  parallel(step, step.tokens, work, body);
}

void rotate_for(const quant::Matrix& matrix, std::span<float> x, Step& step) {
  if (!matrix.rotated()) return;
  const std::size_t width = matrix.cols;
  parallel(step, x.size() / width, width, [&](std::size_t row) {
    quant::rotate_inputs(matrix.signs, x.data() + row * width, width);
  });
}

void show(Step& step, const quant::Matrix& matrix, const float* x) {
  const Inputs inputs{matrix, x, step.tokens};
  step.observer->see({&inputs, 1}, step.pool);
}

void linear(const Linear& w, std::span<float> x, std::span<float> y, Step& step) {
  rotate_for(w.matrix.weight, x, step);
  linear(w, Input{x, x}, y, step);
}

void linear(const Linear& w, const Input& x, std::span<float> y, Step& step) {
  const std::size_t inputs = w.matrix.inputs(), outputs = w.matrix.outputs();
  const float* const rows = x.of(w.matrix.weight).data();
  if (step.observer != nullptr) show(step, w.matrix.weight, rows);
  kernels::apply(w.matrix, rows, step.tokens, inputs, y.data(), outputs, step.pool);
  if (w.bias.size() == 0) return;
  for (std::size_t t = 0; t < step.tokens; ++t)
    kernels::ops().add(y.data() + t * outputs, w.bias.data(), outputs);
}

}  // namespace tern::model
