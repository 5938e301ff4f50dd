#include <fmt/format.h>

#include <algorithm>

#include "reports/charts.h"
#include "reports/escape.h"
#include "reports/headline.h"
#include "reports/svg.h"

namespace vramplan {
namespace {

// Below this share of the capacity a bar would be too short to read.
constexpr double kLeastShare = 0.15;

struct Layout {
  double left = 0, right = 0, bar = 22, gap = 5, label = 20, after = 14, foot = 18, top = 6;
};

Layout layout_of(double width) {
  Layout l;
  l.left = width < 600 ? 68 : 90;
  l.right = width - (width < 600 ? 70 : 100);
  return l;
}

Bytes scale_top(const std::vector<MemoryBar>& bars) {
  Bytes fullest, capacity;
  for (const MemoryBar& bar : bars) {
    fullest = std::max(fullest, bar.total);
    capacity = std::max(capacity, bar.capacity);
  }
  if (capacity.n > 0 && share(fullest, capacity) >= kLeastShare) return std::max(fullest, capacity);
  return fullest;
}

std::string part_name(Category category) {
  std::string name = name_of(category);
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

void draw_bar(Svg& svg, const MemoryBar& bar, Bytes top, const Layout& l, double y) {
  const double plot = l.right - l.left;
  svg.text({l.left - 8, y + l.bar - 7}, bar.observed ? "observed" : "predicted", "t", Anchor::kEnd);
  double x = l.left;
  for (const BarPart& part : bar.parts) {
    const double length = plot * share(part.bytes, top);
    svg.rect(x, y, length, l.bar, color_class(part.category) + (bar.observed ? " seen" : " part"),
             fmt::format("{}, {} {}: {} B ({})", bar.label, bar.observed ? "observed" : "predicted",
                         part_name(part.category), grouped(part.bytes.n), to_text(part.bytes)));
    const std::string name = part_name(part.category);
    if (length > 7.2 * static_cast<double>(name.size()) + 10) {
      svg.text({x + length / 2, y + l.bar - 7}, name, "on-" + color_class(part.category),
               Anchor::kMiddle);
    }
    x += length;
  }
  svg.text({x + 6, y + l.bar - 7},
           bar.observed && bar.parts.empty() ? "not measured" : to_text(bar.total), "t strong");
}

/// The line across a rank's bars, its words below; words alone when it is off the scale.
void draw_capacity(Svg& svg, Bytes capacity, Bytes top, const Layout& l, double from, double to) {
  const std::string words = "capacity " + to_text(capacity);
  if (capacity > top) {
    svg.text({l.right, to + 11}, words + ", off this scale \u2192", "t capacity-text",
             Anchor::kEnd);
    return;
  }
  const double x = l.left + (l.right - l.left) * share(capacity, top);
  svg.line({x, from - 4}, {x, to}, "capacity");
  svg.text({x, to + 11}, words, "t capacity-text", Anchor::kEnd);
}

}  // namespace

std::string color_class(Category category) {
  std::string name = std::string("c-") + name_of(category);
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::string bars_chart(const std::vector<MemoryBar>& bars, double width) {
  const Layout l = layout_of(width);
  const Bytes top = scale_top(bars);
  double height = l.top;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const bool new_label = i == 0 || bars[i].label != bars[i - 1].label;
    height += l.bar + l.gap + (new_label ? l.label + (i == 0 ? 0 : l.after) : 0);
    if (new_label && bars[i].capacity.n > 0) height += l.foot;
  }
  Svg svg(
      width, height + 6, "chart bars", "Memory, predicted and observed",
      "Stacked bars by category for each rank at its fullest phase, with the device's capacity.");
  double y = l.top, group_top = l.top;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const MemoryBar& bar = bars[i];
    if (i == 0 || bar.label != bars[i - 1].label) {
      y += i == 0 ? 0 : l.after;
      svg.text({4, y + 11}, fmt::format("{}, {} peak", bar.label, name_of(bar.phase)), "t strong");
      y += l.label;
      group_top = y;
    }
    draw_bar(svg, bar, top, l, y);
    y += l.bar + l.gap;
    const bool last = i + 1 == bars.size() || bars[i + 1].label != bar.label;
    if (!last || bar.capacity.n == 0) continue;
    draw_capacity(svg, bar.capacity, top, l, group_top, y);
    y += l.foot;
  }
  return svg.finish();
}

}  // namespace vramplan
