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
  std::span<std::uint32_t> tokens;   // [tokens * top_k]: whose choice stands at a row
  std::span<std::uint32_t> active;   // experts that have rows
};

std::span<std::uint32_t> take_ids(Scratch& scratch, std::size_t n) {
  return {reinterpret_cast<std::uint32_t*>(scratch.take(n).data()), n};
}

Plan choose(const MoeConfig& c, const MoeWeights& w, const Input& x, Step& step) {
  const std::size_t choices = step.tokens * c.top_k;
  Plan plan{take_ids(step.scratch, choices),       step.scratch.take(choices),
            take_ids(step.scratch, c.experts + 1), take_ids(step.scratch, choices),
            take_ids(step.scratch, choices),       {}};
  const auto logits = step.scratch.take(step.tokens * c.experts);
  const auto work = step.scratch.take(step.tokens * (2 * c.experts + c.n_group));
  const kernels::Routing routing{c.top_k, c.n_group, c.topk_group, c.norm_topk_prob,
                                 c.routed_scaling_factor};
  linear(w.gate, x, logits, step);
  for_tokens(step, 30 * c.experts, [&](std::size_t t) {
    const std::size_t each = 2 * c.experts + c.n_group;
    kernels::route(logits.subspan(t * c.experts, c.experts), w.e_score_correction_bias.span(),
                   routing, plan.experts.subspan(t * c.top_k, c.top_k),
                   plan.weights.subspan(t * c.top_k, c.top_k), work.subspan(t * each, each));
  });
  // Counting sort, stable: rows of an expert keep the order of tokens.
  std::ranges::fill(plan.starts, 0u);
  for (const std::uint32_t e : plan.experts) ++plan.starts[e + 1];
  for (std::size_t e = 0; e < c.experts; ++e) plan.starts[e + 1] += plan.starts[e];
  const auto next = take_ids(step.scratch, c.experts);
  std::ranges::copy(plan.starts.first(c.experts), next.begin());
  for (std::size_t i = 0; i < choices; ++i) {
    plan.rows[i] = next[plan.experts[i]]++;
    plan.tokens[plan.rows[i]] = static_cast<std::uint32_t>(i / c.top_k);
  }
  std::size_t active = 0;
  for (std::uint32_t e = 0; e < c.experts; ++e)
    if (plan.starts[e + 1] > plan.starts[e]) next[active++] = e;
  plan.active = next.first(active);
  return plan;
}

/// One product among those that run together, y [x.tokens(), outputs].
struct Product {
  const quant::Matrix* weight;
  const kernels::Activations* x;
  float* y;
  const Buffer<float>* bias = nullptr;
};

constexpr std::size_t kMaxTopK = 32;  // experts whose pieces of one token are summed at once
// Outputs that one thread takes at a time, of many tokens and of one.
constexpr std::size_t kPiece = 128, kTokenPiece = 464;

/// What outlives a layer so that nothing is allocated for a token.
struct Workspace {
  std::vector<kernels::Activations> experts;  // inputs, in the order of Plan::active
  kernels::Activations token, shared;         // one token's input to all experts
  std::vector<Product> products;
  struct Piece {
    const Product* product;
    std::size_t first;
  };
  std::vector<Piece> pieces;
};

/// W x (+ b) for outputs [first, first + n) of every token; y is [tokens, stride].
void multiply(const Product& product, std::size_t first, std::size_t n, float* y,
              std::size_t stride) {
  product.x->multiply(*product.weight, first, first + n, y, stride);
  if (product.bias == nullptr || product.bias->size() == 0) return;
  for (std::size_t t = 0; t < product.x->tokens(); ++t)
    kernels::ops().add(y + t * stride, product.bias->data() + first, n);
}

/// All products of the workspace, cut by outputs so that a single token keeps all threads busy.
void multiply_all(Workspace& work, Step& step, void (*finish)(float*, std::size_t)) {
  work.pieces.clear();
  const std::size_t piece = step.tokens == 1 ? kTokenPiece : kPiece;
  for (const Product& product : work.products)
    for (std::size_t first = 0; first < product.weight->rows; first += piece)
      work.pieces.push_back({&product, first});
  step.pool.parallel_for(work.pieces.size(), 1, [&](std::size_t i, std::size_t) {
    const auto& [product, first] = work.pieces[i];
    const std::size_t outputs = product->weight->rows, n = std::min(piece, outputs - first);
    float* const y = product->y + first;
    multiply(*product, first, n, y, outputs);
    if (finish == nullptr) return;
    for (std::size_t t = 0; t < product->x->tokens(); ++t) finish(y + t * outputs, n);
  });
}

/// Tells the observer what the experts' `matrices` are applied to: the rows of `x` that the plan
/// gathers for each, or rows that lie sorted by expert.
void show_experts(const std::vector<quant::Matrix>& matrices, const Plan& plan,
                  std::span<const float> x, bool sorted, Step& step) {
  std::vector<Inputs> products;
  for (const std::uint32_t e : plan.active) {
    const std::size_t row = plan.starts[e], rows = plan.starts[e + 1] - row;
    if (sorted)
      products.push_back({matrices[e], x.data() + row * matrices[e].cols, rows});
    else
      products.push_back({matrices[e], x.data(), rows, plan.tokens.subspan(row, rows)});
  }
  step.observer->see(products, step.pool);
}

/// h = relu^2(up x) for every expert that was chosen and the shared one, which has rows of its own.
void up(const MoeWeights& w, const Plan& plan, std::span<const float> in, const Input& x,
        std::span<float> h, std::span<float> shared_h, Step& step, Workspace& work) {
  const quant::Matrix& first = w.up_proj[0];
  const std::size_t active = plan.active.size(), tokens = step.tokens;
  const bool shared = !shared_h.empty();
  work.products.clear();
  if (step.observer != nullptr) show_experts(w.up_proj, plan, in, false, step);
  if (shared) {
    const Linear& linear = w.shared.up_proj;
    if (step.observer != nullptr)
      show(step, linear.matrix.weight, x.of(linear.matrix.weight).data());
    work.products.push_back({&linear.matrix.weight, &work.shared, shared_h.data(), &linear.bias});
    work.shared.prepare(linear.matrix.weight, x.of(linear.matrix.weight).data(), tokens,
                        linear.matrix.inputs(), &step.pool);
  }
  if (tokens == 1) {
    work.token.prepare(first, in.data(), 1, first.cols, nullptr);
  } else {
    if (work.experts.size() < active) work.experts.resize(active);
    step.pool.parallel_for(active, 1, [&](std::size_t i, std::size_t) {
      const std::size_t row = plan.starts[plan.active[i]];
      const std::size_t rows = plan.starts[plan.active[i] + 1] - row;
      work.experts[i].gather(first, in.data(), plan.tokens.subspan(row, rows), first.cols);
    });
  }
  for (std::size_t i = 0; i < active; ++i) {
    const std::size_t e = plan.active[i];
    work.products.push_back({&w.up_proj[e], tokens == 1 ? &work.token : &work.experts[i],
                             h.data() + plan.starts[e] * first.rows});
  }
  multiply_all(work, step, kernels::ops().relu2);
}

/// The products with `down`, ready to run; y of an expert are rows of `out`.
void prepare_down(const MoeWeights& w, const Plan& plan, std::span<float> h,
                  std::span<float> shared_h, std::span<float> out, std::span<float> shared_out,
                  Step& step, Workspace& work) {
  const quant::Matrix& first = w.down_proj[0];
  const std::size_t active = plan.active.size(), shared = shared_h.empty() ? 0 : 1;
  rotate_for(first, h, step);
  if (shared != 0) rotate_for(w.shared.down_proj.matrix.weight, shared_h, step);
  if (step.observer != nullptr) show_experts(w.down_proj, plan, h, true, step);
  if (work.experts.size() < active) work.experts.resize(active);
  work.products.clear();
  if (shared != 0) {
    const Linear& linear = w.shared.down_proj;
    if (step.observer != nullptr) show(step, linear.matrix.weight, shared_h.data());
    work.products.push_back({&linear.matrix.weight, &work.shared, shared_out.data(), &linear.bias});
  }
  for (std::size_t i = 0; i < active; ++i) {
    const std::size_t e = plan.active[i];
    work.products.push_back(
        {&w.down_proj[e], &work.experts[i], out.data() + plan.starts[e] * first.rows});
  }
  step.pool.parallel_for(active + shared, 1, [&](std::size_t i, std::size_t) {
    if (i < shared)
      return work.shared.prepare(*work.products[0].weight, shared_h.data(), step.tokens,
                                 work.products[0].weight->cols, nullptr);
    const std::size_t e = plan.active[i - shared], row = plan.starts[e];
    work.experts[i - shared].prepare(first, h.data() + row * first.cols, plan.starts[e + 1] - row,
                                     first.cols, nullptr);
  });
}

/// sum[t] = sum over k of w_k E_k(t), then plus what the shared expert says, for channels
/// [first, first + n). `out` and `shared` have rows of `stride` that begin at `first`.
void combine(const MoeConfig& c, const Plan& plan, std::size_t t, const float* out,
             const float* shared, std::size_t stride, std::size_t n, float* sum) {
  std::fill_n(sum, n, 0.0f);
  for (std::size_t k = 0; k < c.top_k; ++k)
    kernels::ops().add_scaled(sum, plan.weights[t * c.top_k + k],
                              out + plan.rows[t * c.top_k + k] * stride, n);
  if (shared != nullptr) kernels::ops().add(sum, shared + t * stride, n);
}

/// One token's products with `down` and their sum, a piece of outputs at a time: the pieces of all
/// experts never leave the cache.
void down_one_token(const MoeConfig& c, const Plan& plan, std::span<float> y, bool shared,
                    Step& step, const Workspace& work) {
  const std::size_t outputs = y.size();
  constexpr std::size_t kRows = 192;
  const std::size_t pieces = (outputs + kRows - 1) / kRows;
  step.pool.parallel_for(pieces, 1, [&](std::size_t piece, std::size_t) {
    const std::size_t first = piece * kRows, n = std::min(kRows, outputs - first);
    float out[kMaxTopK * kRows], shared_out[kRows];
    for (std::size_t i = 0; i < work.products.size(); ++i) {
      const bool is_shared = shared && i == 0;
      multiply(work.products[i], first, n,
               is_shared ? shared_out : out + (i - (shared ? 1 : 0)) * kRows, kRows);
    }
    combine(c, plan, 0, out, shared ? shared_out : nullptr, kRows, n, y.data() + first);
  });
}

}  // namespace

std::size_t moe_scratch(const MoeConfig& c, std::size_t hidden, std::size_t tokens) {
  const std::size_t choices = tokens * c.top_k, channels = c.latent > 0 ? c.latent : hidden;
  return 4 * Scratch::padded(choices) + 2 * Scratch::padded(c.experts + 1) +
         Scratch::padded(tokens * c.experts) +
         Scratch::padded(tokens * (2 * c.experts + c.n_group)) +
         2 * Scratch::padded(tokens * channels) + Scratch::padded(choices * channels) +
         Scratch::padded(choices * c.intermediate) + Scratch::padded(tokens * hidden) +
         Scratch::padded(tokens * c.shared);
}

void moe(const MoeConfig& c, const MoeWeights& w, const Input& x, std::span<float> y, Step& step) {
  thread_local Workspace work;
  const Scratch::Frame frame(step.scratch);
  const std::size_t tokens = step.tokens, hidden = y.size() / tokens;
  const std::size_t channels = c.latent > 0 ? c.latent : hidden, choices = tokens * c.top_k;
  const Plan plan = choose(c, w, x, step);

  std::span<const float> in = x.of(w.up_proj[0]);  // what the routed experts see
  if (c.latent > 0) {
    const auto latent = step.scratch.take(tokens * channels);
    linear(w.fc1_latent_proj, x, latent, step);
    rotate_for(w.up_proj[0], latent, step);
    in = latent;
  }
  const auto h = step.scratch.take(choices * c.intermediate);
  const auto shared_h = step.scratch.take(tokens * c.shared);
  up(w, plan, in, x, h, shared_h, step, work);

  const auto out = step.scratch.take(choices * channels);
  const auto shared_out = step.scratch.take(c.shared == 0 ? 0 : tokens * hidden);
  prepare_down(w, plan, h, shared_h, out, shared_out, step, work);
  if (tokens == 1 && c.latent == 0 && c.top_k <= kMaxTopK)
    return down_one_token(c, plan, y, c.shared > 0, step, work);
  multiply_all(work, step, nullptr);

  const auto sum = c.latent > 0 ? step.scratch.take(tokens * channels) : y;
  const bool together = c.shared > 0 && c.latent == 0;
  for_tokens(step, c.top_k * channels, [&](std::size_t t) {
    combine(c, plan, t, out.data(), together ? shared_out.data() : nullptr, channels, channels,
            sum.data() + t * channels);
  });
  if (c.latent == 0) return;
  linear(w.fc2_latent_proj, sum, y, step);
  if (c.shared == 0) return;
  for_tokens(step, hidden, [&](std::size_t t) {
    kernels::ops().add(y.data() + t * hidden, shared_out.data() + t * hidden, hidden);
  });
}

}  // namespace tern::model
