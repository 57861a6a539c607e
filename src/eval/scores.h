// What one row of logits says about the token that follows, and how two rows differ.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "eval/statistics.h"
#include "eval/windows.h"

namespace tern::eval {

/// -log p(target), in nats.
/// @param logits  [vocabulary], finite
double negative_log_likelihood(std::span<const float> logits, TokenId target);

/// One scored token under two models (or caches).
struct Comparison {
  double divergence =
      0;                ///< KL(base || other) = sum_i p_i log(p_i / q_i), in nats; 0 for equal rows
  double base_nll = 0;  ///< -log p(target)
  double nll = 0;       ///< -log q(target)
  bool same_top = false;  ///< both have their largest logit at the same token (of ties the lowest)
};

/// @param base, other  logits [vocabulary], finite; each row may have any constant added
Comparison compare(std::span<const float> base, std::span<const float> other, TokenId target);

/// exp(mean nll), and its error to first order: perplexity * error of the mean.
Estimate perplexity(std::span<const double> nll);

/// All comparisons of a text.
struct Divergence {
  std::size_t tokens = 0;
  Estimate mean;
  double median = 0, p90 = 0, p99 = 0, p999 = 0, max = 0;
  Estimate same_top;     ///< share of tokens
  Estimate delta_p;      ///< mean of q(target) - p(target)
  Estimate delta_p_rms;  ///< root of its mean square
  Estimate base_perplexity, perplexity;
  /// perplexity / base_perplexity, its error from the differences of paired tokens.
  Estimate perplexity_ratio;
};

Divergence summarize(std::span<const Comparison> comparisons);

}  // namespace tern::eval
