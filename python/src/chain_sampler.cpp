#include "python/src/chain_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tern_python {
namespace {

constexpr float kRemoved = -std::numeric_limits<float>::infinity();

/// The `count` first ids by falling value, among equals the lowest id first, in that order from
/// `from` on; those before `from` must be there already.
void rank(std::span<const float> x, std::vector<std::uint32_t>& ids, std::size_t from,
          std::size_t count) {
  const auto before = [&](std::uint32_t a, std::uint32_t b) {
    return x[a] != x[b] ? x[a] > x[b] : a < b;
  };
  const auto at = [&](std::size_t i) { return ids.begin() + static_cast<std::ptrdiff_t>(i); };
  if (count < ids.size()) std::nth_element(at(from), at(count), ids.end(), before);
  std::sort(at(from), at(count), before);
}

std::vector<std::uint32_t> all_ids(std::size_t count) {
  std::vector<std::uint32_t> ids(count);
  std::iota(ids.begin(), ids.end(), 0u);
  return ids;
}

double mass(std::span<const float> x, float largest) {
  double sum = 0.0;
  for (const float value : x) sum += std::exp(double{value} - double{largest});
  return sum;
}

}  // namespace

std::uint32_t argmax(std::span<const float> x) {
  return static_cast<std::uint32_t>(std::max_element(x.begin(), x.end()) - x.begin());
}

void apply_top_p(std::span<float> x, float top_p) {
  const float largest = x[argmax(x)];
  if (largest == kRemoved) return;
  const double wanted = double{top_p} * mass(x, largest);
  // Few are kept as a rule: only as many are put in order as turn out to be needed.
  std::vector<std::uint32_t> ids = all_ids(x.size());
  std::size_t ranked = 0, kept = 0;
  double above = 0.0;
  while (kept < ids.size() && (kept == 0 || above < wanted)) {
    if (kept == ranked) {
      ranked = std::min(ids.size(), std::max<std::size_t>(64, 4 * ranked));
      rank(x, ids, kept, ranked);
    }
    above += std::exp(double{x[ids[kept++]]} - double{largest});
  }
  const float threshold = x[ids[kept - 1]];
  for (float& value : x)
    if (value < threshold) value = kRemoved;
}

void apply_min_p(std::span<float> x, float min_p, std::size_t keep) {
  const float least = x[argmax(x)] + static_cast<float>(std::log(double{min_p}));
  std::vector<std::uint32_t> best;
  if (keep > 1) {
    best = all_ids(x.size());
    keep = std::min(keep, best.size());
    rank(x, best, 0, keep);
    best.resize(keep);
  }
  std::vector<float> values;
  for (const std::uint32_t id : best) values.push_back(x[id]);
  for (float& value : x)
    if (value < least) value = kRemoved;
  for (std::size_t i = 0; i < best.size(); ++i) x[best[i]] = values[i];
}

void apply_top_k(std::span<float> x, std::size_t top_k) {
  if (top_k >= x.size()) return;
  std::vector<std::uint32_t> ids = all_ids(x.size());
  rank(x, ids, 0, top_k);
  for (std::size_t i = top_k; i < ids.size(); ++i) x[ids[i]] = kRemoved;
}

void apply_xtc(std::span<float> x, float threshold, std::span<const std::uint32_t> special) {
  const float largest = x[argmax(x)];
  if (largest == kRemoved) return;
  const double total = mass(x, largest);
  const auto probability = [&](float value) {
    return static_cast<float>(std::exp(double{value} - double{largest}) / total);
  };
  float least = std::numeric_limits<float>::infinity();
  for (const float value : x)
    if (const float p = probability(value); p > threshold) least = std::min(least, p);
  std::vector<std::pair<std::uint32_t, float>> spared;
  for (const std::uint32_t id : special)
    if (id < x.size()) spared.emplace_back(id, x[id]);
  for (float& value : x)
    if (probability(value) > least) value = kRemoved;
  for (const auto& [id, value] : spared) x[id] = value;
}

void ChainSampler::filter(std::span<float> x) {
  if (options_.top_p > 0.0f && options_.top_p < 1.0f) apply_top_p(x, options_.top_p);
  if (options_.min_p > 0.0f) apply_min_p(x, options_.min_p, options_.min_tokens_to_keep);
  if (options_.xtc_probability > 0.0f && uniform() <= double{options_.xtc_probability})
    apply_xtc(x, options_.xtc_threshold, options_.xtc_special_tokens);
  if (options_.top_k > 0) apply_top_k(x, options_.top_k);
}

bool ChainSampler::sample(std::span<const float> x, std::uint32_t& token) {
  for (const float value : x)
    if (std::isnan(value)) return false;
  token = argmax(x);
  if (x[token] == kRemoved || !std::isfinite(x[token])) return false;
  if (options_.temp == 0.0f) return true;
  scores_.assign(x.begin(), x.end());
  filter(scores_);
  token = draw(scores_, scores_[argmax(scores_)]);
  return true;
}

double ChainSampler::uniform() {
  return static_cast<double>(random_() >> 11) * 0x1p-53;
}

std::uint32_t ChainSampler::draw(std::span<const float> x, float largest) {
  const double temp = options_.temp;
  const auto weight = [&](float value) {
    return std::exp((double{value} - double{largest}) / temp);
  };
  double total = 0.0;
  for (const float value : x) total += weight(value);
  const double point = uniform() * total;
  double passed = 0.0;
  std::uint32_t chosen = argmax(x);
  for (std::size_t id = 0; id < x.size(); ++id) {
    const double w = weight(x[id]);
    if (w == 0.0) continue;
    chosen = static_cast<std::uint32_t>(id);  // rounding may leave `point` past the end
    passed += w;
    if (point < passed) break;
  }
  return chosen;
}

}  // namespace tern_python
