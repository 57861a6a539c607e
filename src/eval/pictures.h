// The pictures of the reports.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/needle.h"

namespace tern::eval {

/// A heat map: prompt lengths from left to right, depths from top (the beginning) to bottom.
/// @param cells  by length and then by depth, as find_needles gives them
std::string needle_picture(std::span<const NeedleCell> cells, std::string_view title);

/// One cache type: what it costs and what it loses.
struct CachePoint {
  std::string label;
  double bytes = 0;       ///< for each token
  double divergence = 0;  ///< mean KLD; 0 is drawn at the lower edge
};

/// Bytes for each token against mean KLD (both logarithmic), one labelled point for each type.
std::string cache_picture(std::span<const CachePoint> points, std::string_view title);

}  // namespace tern::eval
