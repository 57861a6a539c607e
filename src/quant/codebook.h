// Scalar codebooks of least squared error for the coordinates of a random direction.
//
// A coordinate of a uniformly random unit vector of R^d has the density
//   f_d(t) = Gamma(d/2) / (sqrt(pi) Gamma((d-1)/2)) (1 - t^2)^((d-3)/2),  -1 <= t <= 1,
// which tends to N(0, 1/d). Lloyd and Max: boundaries are midpoints of neighbouring levels, levels
// are conditional means. Source: TurboQuant, arXiv:2504.19874, section 3.1.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tern::quant {

struct Codebook {
  std::vector<float> levels;  ///< 2^bits, ascending, symmetric about 0
  std::vector<float> bounds;  ///< 2^bits - 1 midpoints
  double distortion = 0;      ///< E (t - level(t))^2 for t of variance 1
  float step = 0;             ///< of whole_codebook: every level is a whole number of steps

  /// The number of boundaries below x: the nearest level, the lower one of two. NaN gives 0.
  std::uint8_t index(float x) const {
    return static_cast<std::uint8_t>(std::lower_bound(bounds.begin(), bounds.end(), x) -
                                     bounds.begin());
  }
};

inline constexpr unsigned kMaxCodebookBits = 6;

/// For coordinates of random unit vectors of R^dim, dim >= 4; bits 1..6. Made at the first call
/// (milliseconds), then kept for the life of the process. Thread-safe.
const Codebook& sphere_codebook(std::size_t dim, unsigned bits);

/// The levels of sphere_codebook, each moved to a whole number of steps from -127 to 127, and the
/// boundaries between those. The step is the one that moves them least; at 4 bits the distortion
/// grows by a thousandth. For products with integers. Thread-safe and kept likewise.
const Codebook& whole_codebook(std::size_t dim, unsigned bits);

/// For N(0, 1); bits 1..6. Kept and thread-safe likewise.
const Codebook& gaussian_codebook(unsigned bits);

}  // namespace tern::quant
