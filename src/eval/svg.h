// Pictures for reports: standalone SVG that reads well on light and on dark pages.
#pragma once
#include <string>
#include <string_view>

namespace tern::eval {

/// Collects shapes of one picture; coordinates in pixels from the top left corner.
///
/// Colours are named by role ("ink", "faint", "line", "accent"), and change with the page
/// (prefers-color-scheme). Text is escaped.
class Svg {
 public:
  /// @param title  what screen readers say
  Svg(double width, double height, std::string_view title);

  void line(double x1, double y1, double x2, double y2, std::string_view role = "line");
  void text(double x, double y, std::string_view text, std::string_view role = "ink",
            std::string_view anchor = "start");
  void circle(double x, double y, double radius, std::string_view role, std::string_view tooltip);
  /// A cell between two colours: 0 bad, 1 good.
  void cell(double x, double y, double width, double height, double good, std::string_view tooltip);
  /// Text turned by 90 degrees, read upwards, its middle at (x, y).
  void text_upwards(double x, double y, std::string_view text, std::string_view role = "ink");

  std::string str() const;

 private:
  double width_, height_;
  std::string title_, shapes_;
};

/// & < > " as entities; control characters become spaces.
std::string svg_escape(std::string_view text);

}  // namespace tern::eval
