#include "eval/pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/svg.h"

namespace tern::eval {
namespace {

std::string percent(double share) {
  return fmt::format("{:.0f} %", 100 * share);
}

/// The frame of cache_picture, and where values lie in it.
struct Plot {
  double left = 84, top = 56, right = 724, bottom = 424;
  double least_bytes = 1, most_bytes = 2;
  int low = -6, high = 0;  // powers of ten

  double x(double bytes) const {
    const double part = std::log(std::max(bytes, least_bytes) / least_bytes);
    return left + part / std::log(most_bytes / least_bytes) * (right - left);
  }
  double y(double divergence) const {
    const double power = divergence > 0 ? std::log10(divergence) : low;
    const double part = (std::clamp<double>(power, low, high) - low) / (high - low);
    return bottom - part * (bottom - top);
  }
};

Plot plot_for(std::span<const CachePoint> points) {
  Plot plot;
  double least = 1e9, most = 1, least_kld = 1, most_kld = 1e-3;
  for (const CachePoint& point : points) {
    least = std::min(least, std::max(point.bytes, 1.0));
    most = std::max(most, point.bytes);
    if (point.divergence > 0) {
      least_kld = std::min(least_kld, point.divergence);
      most_kld = std::max(most_kld, point.divergence);
    }
  }
  plot.least_bytes = std::min(least, most) * 0.85;
  plot.most_bytes = most * 1.3;
  plot.high = std::clamp(static_cast<int>(std::ceil(std::log10(most_kld))), -2, 2);
  plot.low = std::clamp(static_cast<int>(std::floor(std::log10(least_kld))) - 1, -9, plot.high - 2);
  return plot;
}

void draw_axes(Svg& svg, const Plot& plot) {
  for (int power = plot.low; power <= plot.high; ++power) {
    const double y = plot.y(std::pow(10.0, power));
    svg.line(plot.left, y, plot.right, y);
    svg.text(plot.left - 8, y + 4,
             power == plot.low ? "\u2264 1e" + std::to_string(power) : fmt::format("1e{}", power),
             "faint", "end");
  }
  for (double bytes = 1; bytes <= plot.most_bytes; bytes *= 2) {
    if (bytes < plot.least_bytes) continue;
    const double x = plot.x(bytes);
    svg.line(x, plot.bottom, x, plot.bottom + 5, "ink");
    svg.text(x, plot.bottom + 20, fmt::format("{:.0f}", bytes), "faint", "middle");
  }
  svg.line(plot.left, plot.bottom, plot.right, plot.bottom, "ink");
  svg.line(plot.left, plot.top, plot.left, plot.bottom, "ink");
  svg.text((plot.left + plot.right) / 2, plot.bottom + 44, "bytes of the cache for each token",
           "ink", "middle");
  svg.text_upwards(24, (plot.top + plot.bottom) / 2, "mean KL divergence from f16, nats");
}

}  // namespace

std::string needle_picture(std::span<const NeedleCell> cells, std::string_view title) {
  constexpr double kLeft = 96, kTop = 76, kWidth = 84, kHeight = 30;
  std::vector<std::size_t> lengths;
  std::vector<double> depths;
  for (const NeedleCell& cell : cells) {
    if (std::ranges::find(lengths, cell.length) == lengths.end()) lengths.push_back(cell.length);
    if (std::ranges::find(depths, cell.depth) == depths.end()) depths.push_back(cell.depth);
  }
  const double right = kLeft + kWidth * static_cast<double>(lengths.size());
  const double bottom = kTop + kHeight * static_cast<double>(depths.size());
  Svg svg(std::max(right + 24, 420.0), bottom + 44, title);
  svg.text(20, 28, title, "title");
  svg.text(20, 46, fmt::format("found: {} of all", percent(total(cells).share())), "faint");
  for (const NeedleCell& cell : cells) {
    const auto column =
        static_cast<double>(std::ranges::find(lengths, cell.length) - lengths.begin());
    const auto row = static_cast<double>(std::ranges::find(depths, cell.depth) - depths.begin());
    const double x = kLeft + column * kWidth, y = kTop + row * kHeight;
    const auto& [asked, right_ones] = cell.accuracy;
    svg.cell(x + 1, y + 1, kWidth - 2, kHeight - 2, cell.accuracy.share(),
             fmt::format("{} tokens, depth {}: {} of {}", cell.length, percent(cell.depth),
                         right_ones, asked));
    svg.text(x + kWidth / 2, y + kHeight / 2 + 4, fmt::format("{}/{}", right_ones, asked), "cell",
             "middle");
  }
  for (std::size_t i = 0; i < depths.size(); ++i)
    svg.text(kLeft - 8, kTop + kHeight * (static_cast<double>(i) + 0.5) + 4, percent(depths[i]),
             "faint", "end");
  for (std::size_t i = 0; i < lengths.size(); ++i)
    svg.text(kLeft + kWidth * (static_cast<double>(i) + 0.5), kTop - 8, std::to_string(lengths[i]),
             "faint", "middle");
  svg.text((kLeft + right) / 2, bottom + 24, "tokens of the prompt", "ink", "middle");
  svg.text_upwards(28, (kTop + bottom) / 2, "depth of the fact");
  return svg.str();
}

std::string cache_picture(std::span<const CachePoint> points, std::string_view title) {
  const Plot plot = plot_for(points);
  Svg svg(760, 490, title);
  svg.text(20, 28, title, "title");
  draw_axes(svg, plot);
  std::vector<CachePoint> sorted(points.begin(), points.end());
  std::ranges::stable_sort(sorted, {}, [&](const CachePoint& p) { return plot.y(p.divergence); });
  struct Placed {
    double x, y, width;
  };
  std::vector<Placed> labels;
  for (const CachePoint& point : sorted) {
    const double x = plot.x(point.bytes), y = plot.y(point.divergence);
    svg.circle(
        x, y, 5, point.label.starts_with("turbo") ? "accent" : "second",
        fmt::format("{}: {:.0f} bytes, KLD {:.6f}", point.label, point.bytes, point.divergence));
    // A label moves down until it hides none that is there.
    Placed label{x + 9, y + 4, 7.5 * static_cast<double>(point.label.size())};
    bool moved = true;
    while (moved) {
      moved = false;
      for (const Placed& other : labels) {
        if (label.x > other.x + other.width || other.x > label.x + label.width ||
            std::abs(label.y - other.y) >= 14)
          continue;
        label.y = other.y + 14;
        moved = true;
      }
    }
    labels.push_back(label);
    if (label.y > y + 10) svg.line(x + 4, y + 3, label.x - 1, label.y - 4, "ink");
    svg.text(label.x, label.y, point.label);
  }
  return svg.str();
}

}  // namespace tern::eval
