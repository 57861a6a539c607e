#include "eval/scores.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace tern::eval {
namespace {

/// log sum exp(x_i) = top + log(sum exp(x_i - top))
struct LogSum {
  std::size_t at = 0;  // of the largest, of ties the first
  double top = 0;
  double sum = 0;
  double value() const { return top + std::log(sum); }
};

LogSum log_sum(std::span<const float> logits) {
  LogSum result;
  result.at = static_cast<std::size_t>(std::ranges::max_element(logits) - logits.begin());
  result.top = logits[result.at];
  for (const float logit : logits) result.sum += std::exp(logit - result.top);
  return result;
}

}  // namespace

double negative_log_likelihood(std::span<const float> logits, TokenId target) {
  TERN_CHECK(target < logits.size());
  return log_sum(logits).value() - logits[target];
}

Comparison compare(std::span<const float> base, std::span<const float> other, TokenId target) {
  TERN_CHECK(base.size() == other.size() && target < base.size());
  const LogSum q = log_sum(other);
  LogSum p;
  p.at = static_cast<std::size_t>(std::ranges::max_element(base) - base.begin());
  p.top = base[p.at];
  // KL = sum p_i (x_i - y_i) - log sum exp x + log sum exp y; the first part around the tops, so
  // that equal rows give exactly 0.
  double weighted = 0;
  for (std::size_t i = 0; i < base.size(); ++i) {
    const double weight = std::exp(base[i] - p.top);
    p.sum += weight;
    weighted += weight * ((base[i] - p.top) - (other[i] - q.top));
  }
  Comparison result;
  result.divergence = std::max(0.0, weighted / p.sum - std::log(p.sum) + std::log(q.sum));
  result.base_nll = p.value() - base[target];
  result.nll = q.value() - other[target];
  result.same_top = p.at == q.at;
  return result;
}

Estimate perplexity(std::span<const double> nll) {
  const Estimate average = mean(nll);
  const double value = std::exp(average.value);
  return {value, value * average.error};
}

Divergence summarize(std::span<const Comparison> comparisons) {
  Divergence result;
  result.tokens = comparisons.size();
  if (comparisons.empty()) return result;
  std::vector<double> divergence, base_nll, nll, ratio, delta, square;
  std::size_t same = 0;
  for (const Comparison& c : comparisons) {
    divergence.push_back(c.divergence);
    base_nll.push_back(c.base_nll);
    nll.push_back(c.nll);
    ratio.push_back(c.nll - c.base_nll);
    delta.push_back(std::exp(-c.nll) - std::exp(-c.base_nll));
    square.push_back(delta.back() * delta.back());
    if (c.same_top) ++same;
  }
  result.mean = mean(divergence);
  std::ranges::sort(divergence);
  result.median = quantile(divergence, 0.5);
  result.p90 = quantile(divergence, 0.9);
  result.p99 = quantile(divergence, 0.99);
  result.p999 = quantile(divergence, 0.999);
  result.max = divergence.back();
  result.same_top = proportion(same, comparisons.size());
  result.delta_p = mean(delta);
  const Estimate mean_square = mean(square);
  result.delta_p_rms.value = std::sqrt(mean_square.value);
  if (mean_square.value > 0)
    result.delta_p_rms.error = mean_square.error / (2 * result.delta_p_rms.value);
  result.base_perplexity = perplexity(base_nll);
  result.perplexity = perplexity(nll);
  result.perplexity_ratio = perplexity(ratio);
  return result;
}

}  // namespace tern::eval
