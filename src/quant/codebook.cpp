#include "quant/codebook.h"

#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <numbers>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace tern::quant {
namespace {

/// What Lloyd and Max's rule needs to know of an even density of variance 1.
class Density {
 public:
  virtual ~Density() = default;
  /// Integral of f and of t f over [a, b], 0 <= a < b; b may be limit().
  virtual double mass(double a, double b) const = 0;
  virtual double moment(double a, double b) const = 0;
  virtual double limit() const = 0;
};

class Gaussian final : public Density {
 public:
  double mass(double a, double b) const override {
    return (std::erfc(a / std::numbers::sqrt2) - std::erfc(b / std::numbers::sqrt2)) / 2;
  }
  double moment(double a, double b) const override { return density(a) - density(b); }
  double limit() const override { return 40; }  // beyond it the mass is no double

 private:
  static double density(double t) {
    return std::exp(-t * t / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  }
};

/// Nodes and weights of Gauss and Legendre's quadrature on [-1, 1], by Newton's method on P_n.
template <std::size_t n>
struct GaussLegendre {
  std::array<double, n> nodes, weights;

  GaussLegendre() {
    for (std::size_t i = 0; i < n; ++i) {
      double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (n + 0.5));
      double slope = 0;
      for (int step = 0; step < 100; ++step) {
        double p = 1, before = 0;
        for (std::size_t k = 1; k <= n; ++k) {
          const auto degree = static_cast<double>(k);
          before = std::exchange(p, ((2 * degree - 1) * x * p - (degree - 1) * before) / degree);
        }
        slope = n * (x * p - before) / (x * x - 1);
        const double move = p / slope;
        x -= move;
        if (std::abs(move) < 1e-15) break;
      }
      nodes[i] = x;
      weights[i] = 2 / ((1 - x * x) * slope * slope);
    }
  }
};

/// A coordinate of a random unit vector of R^d, times sqrt(d).
class SphereCoordinate final : public Density {
 public:
  explicit SphereCoordinate(std::size_t dim)
      : dim_(static_cast<double>(dim)),
        scale_(std::exp(std::lgamma(dim_ / 2) - std::lgamma((dim_ - 1) / 2)) /
               std::sqrt(std::numbers::pi * dim_)) {}

  double mass(double a, double b) const override {
    static const GaussLegendre<40> rule;
    constexpr double kPanel = 1;  // a standard deviation: 40 nodes are exact to rounding
    const double end = std::min(b, std::min(limit(), 14.0));
    if (end <= a) return 0;
    const double panels = std::ceil((end - a) / kPanel), width = (end - a) / panels;
    double sum = 0;
    for (double panel = 0; panel < panels; ++panel) {
      const double middle = a + (panel + 0.5) * width;
      for (std::size_t i = 0; i < rule.nodes.size(); ++i)
        sum += rule.weights[i] * power(middle + width / 2 * rule.nodes[i], (dim_ - 3) / 2);
    }
    return scale_ * sum * width / 2;
  }
  double moment(double a, double b) const override {
    const double exponent = (dim_ - 1) / 2;
    return scale_ * dim_ / (dim_ - 1) * (power(a, exponent) - power(b, exponent));
  }
  double limit() const override { return std::sqrt(dim_); }

 private:
  /// (1 - t^2 / d)^exponent
  double power(double t, double exponent) const {
    return t * t >= dim_ ? 0 : std::exp(exponent * std::log1p(-t * t / dim_));
  }

  double dim_, scale_;
};

/// The positive half of the codebook for `density`, by Lloyd's iteration.
std::vector<double> lloyd_max(const Density& density, unsigned bits) {
  const std::size_t half = std::size_t{1} << (bits - 1);
  std::vector<double> levels(half);
  for (std::size_t i = 0; i < half; ++i)
    levels[i] = 3 * (static_cast<double>(i) + 0.5) / static_cast<double>(half);
  constexpr int kMaxSweeps = 20000;  // 6 bits need about 6000
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    double change = 0, lower = 0;
    for (std::size_t i = 0; i < half; ++i) {
      const double upper = i + 1 < half ? (levels[i] + levels[i + 1]) / 2 : density.limit();
      const double level = density.moment(lower, upper) / density.mass(lower, upper);
      change = std::max(change, std::abs(level - levels[i]));
      levels[i] = level;
      lower = upper;
    }
    if (change < 1e-14) break;
  }
  return levels;
}

/// E (t - level(t))^2 = E t^2 - E level(t)^2, as each level is its cell's mean.
double distortion(const Density& density, const std::vector<double>& levels) {
  double square = 0, lower = 0;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const double upper = i + 1 < levels.size() ? (levels[i] + levels[i + 1]) / 2 : density.limit();
    square += levels[i] * levels[i] * density.mass(lower, upper);
    lower = upper;
  }
  return 1 - 2 * square;
}

/// E (t - level(t))^2 of any ascending positive levels, each the nearest one of its cell.
double distortion_of(const Density& density, const std::vector<double>& levels) {
  double moved = 0, lower = 0;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const double upper = i + 1 < levels.size() ? (levels[i] + levels[i + 1]) / 2 : density.limit();
    moved +=
        levels[i] * (levels[i] * density.mass(lower, upper) - 2 * density.moment(lower, upper));
    lower = upper;
  }
  return 1 + 2 * moved;
}

/// The levels in steps of the greatest / n, for the n of 64 to 127 with the least distortion.
std::pair<std::vector<double>, double> whole_levels(const Density& density,
                                                    const std::vector<double>& half) {
  constexpr int kMostSteps = 127;
  std::vector<double> best;
  double best_step = 0, least = 0;
  for (int steps = kMostSteps / 2 + 1; steps <= kMostSteps; ++steps) {
    const double step = half.back() / steps;
    std::vector<double> levels;
    for (const double level : half) levels.push_back(std::round(level / step) * step);
    const double error = distortion_of(density, levels);
    if (!best.empty() && error >= least) continue;
    best = levels;
    best_step = step;
    least = error;
  }
  return {best, best_step};
}

Codebook make(const Density& density, unsigned bits, double unit, bool whole) {
  std::vector<double> half = lloyd_max(density, bits);
  double step = 0, moved = 0;
  if (whole) {
    std::tie(half, step) = whole_levels(density, half);
    moved = distortion_of(density, half);
  }
  std::vector<double> levels;
  for (auto level = half.rbegin(); level != half.rend(); ++level) levels.push_back(-*level * unit);
  for (const double level : half) levels.push_back(level * unit);
  Codebook codebook;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    codebook.levels.push_back(static_cast<float>(levels[i]));
    if (i > 0) codebook.bounds.push_back(static_cast<float>((levels[i - 1] + levels[i]) / 2));
  }
  codebook.distortion = whole ? moved : distortion(density, half);
  codebook.step = static_cast<float>(step * unit);
  return codebook;
}

/// dim 0 stands for the Gaussian limit.
const Codebook& codebook(std::size_t dim, unsigned bits, bool whole = false) {
  TERN_CHECK(bits >= 1 && bits <= kMaxCodebookBits);
  static std::mutex mutex;
  static std::map<std::tuple<std::size_t, unsigned, bool>, Codebook> known;
  const std::scoped_lock lock(mutex);
  const auto [place, added] = known.try_emplace({dim, bits, whole});
  if (added) {
    if (dim == 0)
      place->second = make(Gaussian(), bits, 1, whole);
    else
      place->second =
          make(SphereCoordinate(dim), bits, 1 / std::sqrt(static_cast<double>(dim)), whole);
  }
  return place->second;
}

}  // namespace

const Codebook& sphere_codebook(std::size_t dim, unsigned bits) {
  TERN_CHECK(dim >= 4);
  return codebook(dim, bits);
}

const Codebook& whole_codebook(std::size_t dim, unsigned bits) {
  TERN_CHECK(dim >= 4);
  return codebook(dim, bits, true);
}

const Codebook& gaussian_codebook(unsigned bits) {
  return codebook(0, bits);
}

}  // namespace tern::quant
