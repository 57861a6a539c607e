// Which experts a token goes to.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace tern::kernels {

struct Routing {
  std::size_t top_k = 1;
  std::size_t n_group = 1;     ///< experts are in so many equal groups ...
  std::size_t topk_group = 1;  ///< ... of which only the best so many are open
  bool norm_topk_prob = true;
  float routed_scaling_factor = 1.0f;
};

/// One token, by the rule of DeepSeek-V3 (arXiv:2412.19437, section 2.1.2):
///
///   s = sigmoid(logits)              affinity, what the weights are made of
///   c = s + bias                     what the choice is made of
///   groups: score = sum of the two largest c; the experts of the best topk_group stay
///   I = the top_k largest c;  w = s[I]
///   w = w / (sum w + 1e-20) if norm_topk_prob;  w = routed_scaling_factor w
///
/// Of equal ones the first is taken. `experts` and `weights` [top_k] are in order of choice;
/// experts are distinct and in range even for logits that are NaN. Experts of closed groups are
/// never chosen (transformers and vLLM; some ports rank them as c = 0, which differs only when an
/// open expert has c < 0).
/// @param scratch  [2 * experts + n_group]
void route(std::span<const float> logits, std::span<const float> bias, const Routing& routing,
           std::span<std::uint32_t> experts, std::span<float> weights, std::span<float> scratch);

}  // namespace tern::kernels
