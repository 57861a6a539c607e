// Means with standard errors, and percentiles.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "quant/distortion.h"

namespace tern::eval {

/// A mean of independent values and its standard error (0 for fewer than two values).
using quant::Estimate;

/// Of a sample; 0 +- 0 for an empty one. Two passes: exact for equal values.
Estimate mean(std::span<const double> values);

/// Of `hits` among `tries`: p +- sqrt(p (1 - p) / (tries - 1)).
Estimate proportion(std::size_t hits, std::size_t tries);

/// The value below which the part `q` (0 to 1) of ascending `sorted` lies, interpolated between
/// neighbours; 0 for an empty one.
double quantile(std::span<const double> sorted, double q);

}  // namespace tern::eval
