#include "kernels/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tern::kernels {
namespace {

constexpr float kClosed = -std::numeric_limits<float>::infinity();

/// The sum of the two largest, or the only one.
float best_two(std::span<const float> c) {
  float first = kClosed, second = kClosed;
  for (const float v : c) {
    second = std::max(second, std::min(first, v));
    first = std::max(first, v);
  }
  return c.size() == 1 ? first : first + second;
}

/// Index of the largest element that is not `taken`; the first of equal ones.
template <class Taken>
std::size_t largest(std::span<const float> values, const Taken& taken) {
  std::size_t best = values.size();
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!taken(i) && (best == values.size() || values[i] > values[best])) best = i;
  return best;
}

/// Marks the experts of all but the best groups as closed in `open` (1 or 0).
void choose_groups(std::span<const float> c, const Routing& routing, std::span<float> scores,
                   std::span<float> open) {
  const std::size_t size = c.size() / routing.n_group;
  const auto group_scores = scores.first(routing.n_group);
  for (std::size_t g = 0; g < routing.n_group; ++g)
    group_scores[g] = best_two(c.subspan(g * size, size));
  std::ranges::fill(open, 0.0f);
  for (std::size_t k = 0; k < routing.topk_group; ++k) {
    const std::size_t g = largest(group_scores, [&](std::size_t i) { return open[i * size] != 0; });
    std::ranges::fill(open.subspan(g * size, size), 1.0f);
  }
}

}  // namespace

void route(std::span<const float> logits, std::span<const float> bias, const Routing& routing,
           std::span<std::uint32_t> experts, std::span<float> weights, std::span<float> scratch) {
  const std::size_t count = logits.size();
  const auto c = scratch.first(count), open = scratch.subspan(count, count);
  const auto groups = scratch.subspan(2 * count, routing.n_group);
  const auto sigmoid = [&](std::size_t e) {
    return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(logits[e]))));
  };
  for (std::size_t e = 0; e < count; ++e) c[e] = sigmoid(e) + bias[e];
  std::ranges::fill(open, 1.0f);
  if (routing.n_group > 1) choose_groups(c, routing, groups, open);

  double sum = 0;
  for (std::size_t k = 0; k < routing.top_k; ++k) {
    const std::size_t e = largest(c, [&](std::size_t i) { return open[i] == 0.0f; });
    open[e] = 0.0f;
    experts[k] = static_cast<std::uint32_t>(e);
    weights[k] = sigmoid(e);
    sum += weights[k];
  }
  const double norm = routing.norm_topk_prob ? 1.0 / (sum + 1e-20) : 1.0;
  for (float& w : weights) w = static_cast<float>(w * norm * routing.routed_scaling_factor);
}

}  // namespace tern::kernels
