#include "eval/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tern::eval {
namespace {

constexpr std::string_view kStyle = R"(<style>
  svg { --page: #ffffff; --ink: #1f2328; --faint: #59636e; --line: #d1d9e0; --accent: #0969da;
    --second: #bc4c00; background: var(--page);
    font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --page: #0d1117; --ink: #f0f6fc; --faint: #9198a1; --line: #3d444d; --accent: #4493f8;
      --second: #f0883e; }
  }
  .t-ink { fill: var(--ink); } .t-faint { fill: var(--faint); font-size: 12px; }
  .t-title { fill: var(--ink); font-size: 15px; font-weight: 600; }
  .t-cell { fill: #ffffff; font-size: 12px; }
  .l-line { stroke: var(--line); } .l-ink { stroke: var(--faint); }
  .c-accent { fill: var(--accent); } .c-second { fill: var(--second); }
</style>
)";

}  // namespace

std::string svg_escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&')
      escaped += "&amp;";
    else if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else if (c == '"')
      escaped += "&quot;";
    else
      escaped += (c & '\xe0') == 0 || c == '\x7f' ? ' ' : c;
  }
  return escaped;
}

Svg::Svg(double width, double height, std::string_view title)
    : width_(width), height_(height), title_(title) {}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view role) {
  shapes_ += fmt::format(
      "<line class=\"l-{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", role, x1,
      y1, x2, y2);
}

void Svg::text(double x, double y, std::string_view text, std::string_view role,
               std::string_view anchor) {
  shapes_ +=
      fmt::format("<text class=\"t-{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n",
                  role, x, y, anchor, svg_escape(text));
}

void Svg::circle(double x, double y, double radius, std::string_view role,
                 std::string_view tooltip) {
  shapes_ += fmt::format(
      "<circle class=\"c-{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"><title>{}</title>"
      "</circle>\n",
      role, x, y, radius, svg_escape(tooltip));
}

void Svg::cell(double x, double y, double width, double height, double good,
               std::string_view tooltip) {
  // From dark red over ochre to green; all are dark enough for white figures.
  good = std::clamp(good, 0.0, 1.0);
  const double hue = 145 * good * good, light = 30 + 6 * good;
  shapes_ += fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
      "fill=\"hsl({:.0f} 55% {:.0f}%)\"><title>{}</title></rect>\n",
      x, y, width, height, hue, light, svg_escape(tooltip));
}

void Svg::text_upwards(double x, double y, std::string_view text, std::string_view role) {
  shapes_ += fmt::format(
      "<text class=\"t-{0}\" transform=\"translate({1:.1f} {2:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\">{3}</text>\n",
      role, x, y, svg_escape(text));
}

std::string Svg::str() const {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "width=\"{0:.0f}\" height=\"{1:.0f}\" role=\"img\">\n<title>{2}</title>\n{3}"
      "<rect width=\"100%\" height=\"100%\" style=\"fill: var(--page)\"/>\n{4}</svg>\n",
      width_, height_, svg_escape(title_), kStyle, shapes_);
}

}  // namespace tern::eval
