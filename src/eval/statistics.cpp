#include "eval/statistics.h"

#include <algorithm>
#include <cmath>

namespace tern::eval {

Estimate mean(std::span<const double> values) {
  if (values.empty()) return {};
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  const double average = sum / n;
  if (values.size() < 2) return {average, 0};
  double squares = 0;
  for (const double value : values) squares += (value - average) * (value - average);
  return {average, std::sqrt(squares / (n - 1) / n)};
}

Estimate proportion(std::size_t hits, std::size_t tries) {
  if (tries == 0) return {};
  const double p = static_cast<double>(hits) / static_cast<double>(tries);
  return {p, tries < 2 ? 0 : std::sqrt(p * (1 - p) / static_cast<double>(tries - 1))};
}

double quantile(std::span<const double> sorted, double q) {
  if (sorted.empty()) return 0;
  const double at = std::clamp(q, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  if (below + 1 == sorted.size()) return sorted.back();
  const double part = at - static_cast<double>(below);
  return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

}  // namespace tern::eval
