// The mixture of experts (routing of arXiv:2412.19437, experts of squared ReLU).
//
//   I, w = route(W_gate x)                              top_k experts and their weights
//   y = sum_{e in I} w_e E_e(x) + E_shared(x),   E(x) = down relu^2(up x)
// With a latent size the routed experts work in fewer channels:
//   y = fc2 sum_{e in I} w_e E_e(fc1 x) + E_shared(x)
#include <algorithm>

#include "kernels/ops.h"
#include "kernels/routing.h"
#include "model/mixers.h"

namespace tern::model {
namespace {

/// The choices of all tokens, sorted by expert: row `slot` of the expert's input is one token.
struct Plan {
  std::span<std::uint32_t> experts;  // [tokens, top_k]
  std::span<float> weights;          // [tokens, top_k]
  std::span<std::uint32_t> starts;   // [experts + 1]: first row of each expert
  std::span<std::uint32_t> rows;     // [tokens, top_k]: where the choice stands
  std::span<std::uint32_t> active;   // experts that have rows
};

std::span<std::uint32_t> take_ids(Scratch& scratch, std::size_t n) {
  return {reinterpret_cast<std::uint32_t*>(scratch.take(n).data()), n};
}

Plan choose(const MoeConfig& c, const MoeWeights& w, const Input& x, Chunk& chunk) {
  const std::size_t choices = chunk.tokens * c.top_k;
  Plan plan{take_ids(chunk.scratch, choices),
            chunk.scratch.take(choices),
            take_ids(chunk.scratch, c.experts + 1),
            take_ids(chunk.scratch, choices),
            {}};
  const auto logits = chunk.scratch.take(chunk.tokens * c.experts);
  const auto work = chunk.scratch.take(chunk.tokens * (2 * c.experts + c.n_group));
  const kernels::Routing routing{c.top_k, c.n_group, c.topk_group, c.norm_topk_prob,
                                 c.routed_scaling_factor};
  linear(w.gate, x, logits, chunk);
  for_tokens(chunk, 30 * c.experts, [&](std::size_t t) {
    const std::size_t each = 2 * c.experts + c.n_group;
    kernels::route(logits.subspan(t * c.experts, c.experts), w.e_score_correction_bias.span(),
                   routing, plan.experts.subspan(t * c.top_k, c.top_k),
                   plan.weights.subspan(t * c.top_k, c.top_k), work.subspan(t * each, each));
  });
  // Counting sort, stable: rows of an expert keep the order of tokens.
  std::ranges::fill(plan.starts, 0u);
  for (const std::uint32_t e : plan.experts) ++plan.starts[e + 1];
  for (std::size_t e = 0; e < c.experts; ++e) plan.starts[e + 1] += plan.starts[e];
  const auto next = take_ids(chunk.scratch, c.experts);
  std::ranges::copy(plan.starts.first(c.experts), next.begin());
  for (std::size_t i = 0; i < choices; ++i) plan.rows[i] = next[plan.experts[i]]++;
  std::size_t active = 0;
  for (std::uint32_t e = 0; e < c.experts; ++e)
    if (plan.starts[e + 1] > plan.starts[e]) next[active++] = e;
  plan.active = next.first(active);
  return plan;
}

/// y = E x for the rows of every expert, cut by outputs so that a single token keeps all threads
/// busy. `finish(y, n)` sees each piece of a row.
void apply_experts(const std::vector<quant::Matrix>& experts, const Plan& plan,
                   std::span<const float> x, std::span<float> y, Chunk& chunk,
                   void (*finish)(float*, std::size_t)) {
  const std::size_t inputs = experts[0].cols, outputs = experts[0].rows;
  constexpr std::size_t kPiece = 128;  // outputs
  const std::size_t pieces = (outputs + kPiece - 1) / kPiece;
  const std::size_t average = plan.rows.size() / plan.active.size();
  parallel(chunk, plan.active.size() * pieces, average * kPiece * inputs, [&](std::size_t i) {
    const std::size_t e = plan.active[i / pieces], first = i % pieces * kPiece;
    const std::size_t row = plan.starts[e], rows = plan.starts[e + 1] - row;
    const std::size_t n = std::min(kPiece, outputs - first);
    float* const out = y.data() + row * outputs + first;
    kernels::apply_serial(experts[e].slice(first, n), x.data() + row * inputs, rows, inputs, out,
                          outputs);
    if (finish == nullptr) return;
    for (std::size_t r = 0; r < rows; ++r) finish(out + r * outputs, n);
  });
}

}  // namespace

std::size_t moe_scratch(const MoeConfig& c, std::size_t hidden, std::size_t tokens) {
  const std::size_t choices = tokens * c.top_k, channels = c.latent > 0 ? c.latent : hidden;
  return 3 * Scratch::padded(choices) + 2 * Scratch::padded(c.experts + 1) +
         Scratch::padded(tokens * c.experts) +
         Scratch::padded(tokens * (2 * c.experts + c.n_group)) +
         2 * Scratch::padded(tokens * channels) + 2 * Scratch::padded(choices * channels) +
         Scratch::padded(choices * c.intermediate) + Scratch::padded(tokens * hidden) +
         mlp_scratch(c.shared, tokens);
}

void moe(const MoeConfig& c, const MoeWeights& w, const Input& x, std::span<float> y,
         Chunk& chunk) {
  const Scratch::Frame frame(chunk.scratch);
  const std::size_t tokens = chunk.tokens, hidden = y.size() / tokens;
  const std::size_t channels = c.latent > 0 ? c.latent : hidden, choices = tokens * c.top_k;
  const Plan plan = choose(c, w, x, chunk);

  std::span<const float> in = x.of(w.up_proj[0]);  // what the routed experts see
  if (c.latent > 0) {
    const auto latent = chunk.scratch.take(tokens * channels);
    linear(w.fc1_latent_proj, x, latent, chunk);
    rotate_for(w.up_proj[0], latent, chunk);
    in = latent;
  }
  const auto sorted = chunk.scratch.take(choices * channels);
  const auto h = chunk.scratch.take(choices * c.intermediate);
  const auto out = chunk.scratch.take(choices * channels);
  for_tokens(chunk, c.top_k * channels, [&](std::size_t t) {
    for (std::size_t k = 0; k < c.top_k; ++k)
      std::ranges::copy(in.subspan(t * channels, channels),
                        sorted.data() + plan.rows[t * c.top_k + k] * channels);
  });
  apply_experts(w.up_proj, plan, sorted, h, chunk, kernels::ops().relu2);
  rotate_for(w.down_proj[0], h, chunk);
  apply_experts(w.down_proj, plan, h, out, chunk, nullptr);

  const auto sum = c.latent > 0 ? chunk.scratch.take(tokens * channels) : y;
  for_tokens(chunk, c.top_k * channels, [&](std::size_t t) {
    const auto row = sum.subspan(t * channels, channels);
    std::ranges::fill(row, 0.0f);
    for (std::size_t k = 0; k < c.top_k; ++k)
      kernels::ops().add_scaled(row.data(), plan.weights[t * c.top_k + k],
                                out.data() + plan.rows[t * c.top_k + k] * channels, channels);
  });
  if (c.latent > 0) linear(w.fc2_latent_proj, sum, y, chunk);
  if (c.shared == 0) return;
  const auto shared = chunk.scratch.take(tokens * hidden);
  mlp(w.shared, x, shared, chunk);
  for_tokens(chunk, hidden, [&](std::size_t t) {
    kernels::ops().add(y.data() + t * hidden, shared.data() + t * hidden, hidden);
  });
}

}  // namespace tern::model
