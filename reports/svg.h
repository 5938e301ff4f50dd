#pragma once
// Svg: a writer of inline SVG. Colours live in the page's style, by class name, so that one picture
// serves light and dark. All text is escaped here. Coordinates have one decimal: output is stable.
#include <string>
#include <utility>
#include <vector>

namespace vramplan {

struct Point {
  double x = 0, y = 0;
};

enum class Anchor { kStart, kMiddle, kEnd };

class Svg {
 public:
  /// `title` and `description` are what a screen reader says.
  Svg(double width, double height, const std::string& class_name, const std::string& title,
      const std::string& description);

  void open_group(const std::string& class_name);
  void close_group();
  /// `tip`, when given, is shown on hover.
  void rect(double x, double y, double width, double height, const std::string& class_name,
            const std::string& tip = "");
  void circle(Point center, double radius, const std::string& class_name,
              const std::string& tip = "");
  void line(Point from, Point to, const std::string& class_name);
  void path(const std::vector<Point>& points, const std::string& class_name, bool closed = false,
            const std::string& tip = "");
  void text(Point at, const std::string& text, const std::string& class_name,
            Anchor anchor = Anchor::kStart);
  std::string finish();

 private:
  void end_with(const char* element, const std::string& tip);
  std::string out_;
};

/// A value between 0 and 1 to a small inline bar, for tables.
std::string svg_bar(double share, const std::string& class_name);

/// Steps 1, 2, 5, 10 ... : the smallest that gives at most `most` steps up to `top`.
double nice_step(double top, int most);

}  // namespace vramplan
