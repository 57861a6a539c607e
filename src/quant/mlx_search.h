// The loops of the searching encoders, for every instruction set; all give the same bits.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"

namespace tern::quant {

inline constexpr std::size_t kSearchLanes = 16;
inline constexpr std::size_t kMostGroup = 128;

/// Sums over a group for codes q of w, each weighted with u.
struct AffineSums {
  float error = 0;  ///< u (w - (scale q + bias))^2
  float q = 0, qq = 0, wq = 0;
};

struct SearchKernels {
  /// q = the nearest of 0..levels to (w - bias) / scale; n is a multiple of 16.
  AffineSums (*affine)(const float* w, const float* u, std::size_t n, float scale, float bias,
                       float levels);
  /// The weighted error of the nearest E2M1 values, times `scale` (a normal number or 0).
  float (*e2m1)(const float* w, const float* u, std::size_t n, float scale);
  /// The same with E4M3 values.
  float (*e4m3)(const float* w, const float* u, std::size_t n, float scale);
};

/// Those of an instruction set that this CPU has.
const SearchKernels& search_kernels(Isa isa);

}  // namespace tern::quant
