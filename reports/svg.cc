#include "reports/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reports/escape.h"

namespace vramplan {
namespace {

std::string num(double value) {
  if (!std::isfinite(value)) value = 0;
  std::string text = fmt::format("{:.1f}", value);
  if (text.size() > 2 && text.compare(text.size() - 2, 2, ".0") == 0) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

}  // namespace

Svg::Svg(double width, double height, const std::string& class_name, const std::string& title,
         const std::string& description) {
  out_ = fmt::format(
      "<svg class=\"{}\" viewBox=\"0 0 {} {}\" role=\"img\">\n<title>{}</title>\n"
      "<desc>{}</desc>\n",
      html_text(class_name), num(width), num(height), html_text(title), html_text(description));
}

void Svg::open_group(const std::string& class_name) {
  out_ += fmt::format("<g class=\"{}\">\n", html_text(class_name));
}

void Svg::close_group() { out_ += "</g>\n"; }

void Svg::end_with(const char* element, const std::string& tip) {
  if (tip.empty()) {
    out_ += "/>\n";
  } else {
    out_ += fmt::format("><title>{}</title></{}>\n", html_text(tip), element);
  }
}

void Svg::rect(double x, double y, double width, double height, const std::string& class_name,
               const std::string& tip) {
  out_ += fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
                      html_text(class_name), num(x), num(y), num(std::max(width, 0.0)),
                      num(std::max(height, 0.0)));
  end_with("rect", tip);
}

void Svg::circle(Point center, double radius, const std::string& class_name,
                 const std::string& tip) {
  out_ += fmt::format("<circle class=\"{}\" cx=\"{}\" cy=\"{}\" r=\"{}\"", html_text(class_name),
                      num(center.x), num(center.y), num(radius));
  end_with("circle", tip);
}

void Svg::line(Point from, Point to, const std::string& class_name) {
  out_ += fmt::format("<line class=\"{}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>\n",
                      html_text(class_name), num(from.x), num(from.y), num(to.x), num(to.y));
}

void Svg::path(const std::vector<Point>& points, const std::string& class_name, bool closed,
               const std::string& tip) {
  if (points.empty()) return;
  std::string d;
  for (const Point& p : points) d += (d.empty() ? "M" : "L") + num(p.x) + " " + num(p.y);
  out_ += fmt::format("<path class=\"{}\" d=\"{}{}\"", html_text(class_name), d, closed ? "Z" : "");
  end_with("path", tip);
}

void Svg::text(Point at, const std::string& text, const std::string& class_name, Anchor anchor) {
  static constexpr const char* kAnchors[] = {"start", "middle", "end"};
  out_ += fmt::format("<text class=\"{}\" x=\"{}\" y=\"{}\" text-anchor=\"{}\">{}</text>\n",
                      html_text(class_name), num(at.x), num(at.y),
                      kAnchors[static_cast<int>(anchor)], html_text(text));
}

std::string Svg::finish() { return out_ + "</svg>\n"; }

std::string svg_bar(double share, const std::string& class_name) {
  const double width = 100 * std::clamp(std::isfinite(share) ? share : 0, 0.0, 1.0);
  return fmt::format(
      "<svg class=\"bar\" viewBox=\"0 0 100 10\" aria-hidden=\"true\" "
      "preserveAspectRatio=\"none\"><rect class=\"{}\" x=\"0\" y=\"0\" width=\"{}\" "
      "height=\"10\"/></svg>",
      html_text(class_name), num(width));
}

double nice_step(double top, int most) {
  if (!std::isfinite(top) || top <= 0 || most < 1) return 1;
  double power = std::pow(10.0, std::floor(std::log10(top / most)));
  for (int i = 0; i < 2; ++i, power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      if (top / (factor * power) <= most) return factor * power;
    }
  }
  return power;
}

}  // namespace vramplan
