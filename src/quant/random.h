// A seeded generator whose numbers are the same on every platform: rotations and projections are
// drawn from it, and files name only the seed.
//
// SplitMix64 (Steele, Lea, Flood 2014): state += 0x9e3779b97f4a7c15, then a finalizer. Normal
// numbers by Marsaglia's polar method. Nothing here depends on a math library: besides IEEE
// arithmetic and the square root there is one logarithm, summed below.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace tern::quant {

/// ln x for x in (0, 1]: 2^e m with m in [sqrt 1/2, sqrt 2), and the series of artanh.
inline double portable_log(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  auto exponent = static_cast<int>(bits >> 52) - 1022;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffu) | 0x3fe0000000000000u);
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double s = (m - 1) / (m + 1), s2 = s * s;
  double sum = 0;
  for (int k = 25; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
  return 2 * s * sum + exponent * 0.69314718055994531;
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// In [0, 1), a multiple of 2^-53.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  /// A point of the unit disk, its centre excluded.
  struct Point {
    double x, y, square;
  };
  Point in_disk() {
    for (;;) {
      const double x = 2 * uniform() - 1, y = 2 * uniform() - 1, square = x * x + y * y;
      if (square < 1 && square > 0) return {x, y, square};
    }
  }

  /// N(0, 1). Two come from one point: x first.
  double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    const Point p = in_disk();
    const double factor = std::sqrt(-2 * portable_log(p.square) / p.square);
    spare_ = p.y * factor;
    has_spare_ = true;
    return p.x * factor;
  }

 private:
  std::uint64_t state_;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace tern::quant
