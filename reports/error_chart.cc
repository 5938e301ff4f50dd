#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reports/charts.h"
#include "reports/escape.h"
#include "reports/headline.h"
#include "reports/svg.h"

namespace vramplan {
namespace {

constexpr double kEdge = 10, kBand = 5;  // percent
constexpr std::size_t kMostRows = 40;

struct Line {
  std::string label, value, tip;
  double percent = 0;
  Outcome outcome = Outcome::kNotMeasured;
  bool gates = false;
};

Line line_of(const VerdictRow& row, const std::string& rank, bool many_ranks, bool narrow) {
  Line line;
  line.label = narrow ? row.name : fmt::format("{} {}", name_of(row.category), row.name);
  if (row.category == Category::kActivations)
    line.label += std::string(" (") + name_of(row.phase) + ")";
  if (narrow && row.category == Category::kKvCache) line.label = "KV " + row.name;
  if (many_ranks) line.label += ", " + rank;
  line.outcome = row.outcome;
  line.gates = row.gates;
  line.value = error_text(row);
  line.tip = fmt::format("{}: predicted {} B", describe(row), grouped(row.predicted.n));
  if (row.outcome == Outcome::kNotMeasured) return line;
  line.tip += fmt::format(", observed {} B, error {} B", grouped(row.observed.n),
                          grouped_signed(row.error.n));
  line.percent = row.observed.n != 0 ? 100 * share(row.error, row.observed)
                 : row.error.n != 0  ? std::copysign(1e9, static_cast<double>(row.error.n))
                                     : 0;
  return line;
}

Line line_of(const TimeRow& row) {
  Line line;
  line.label = time_title(row.name);
  line.outcome = row.outcome;
  line.gates = row.gates;
  line.percent = 100 * row.error;
  const bool measured = row.outcome != Outcome::kNotMeasured;
  line.value = measured ? fmt::format("{:+.1f} %", line.percent) : "not measured";
  line.tip = fmt::format("{}: predicted {}", line.label, time_value(row.name, row.predicted));
  if (measured) line.tip += ", observed " + time_value(row.name, row.observed);
  return line;
}

std::string mark_class(const Line& line) {
  if (line.outcome == Outcome::kWithin) return "mark good";
  return line.gates ? "mark bad" : "mark warn";
}

void draw_mark(Svg& svg, const Line& line, double zero, double unit, double y) {
  if (line.outcome == Outcome::kNotMeasured) {
    svg.path({{zero - 4, y - 4}, {zero + 4, y + 4}}, mark_class(line) + " cross", false, line.tip);
    svg.path({{zero - 4, y + 4}, {zero + 4, y - 4}}, mark_class(line) + " cross");
    return;
  }
  if (std::fabs(line.percent) > kEdge) {
    const double side = line.percent > 0 ? 1 : -1;
    const double tip = zero + side * kEdge * unit;
    svg.path({{tip, y}, {tip - side * 9, y - 6}, {tip - side * 9, y + 6}}, mark_class(line), true,
             line.tip);
    return;
  }
  const double x = zero + line.percent * unit;
  svg.line({zero, y}, {x, y}, "stem");
  svg.circle({x, y}, 5, mark_class(line), line.tip);
}

std::string shortened(const std::string& text, std::size_t most) {
  return text.size() <= most ? text : text.substr(0, most - 1) + "\u2026";
}

}  // namespace

std::string error_chart(const Plan& plan, const Verdict& verdict, double width) {
  const bool narrow = width < 600;
  const std::vector<RankGroup> groups = rank_groups(plan, verdict);
  std::vector<Line> lines;
  std::size_t left_out = 0;
  for (const VerdictRow* row : worst_first(verdict)) {
    const auto group = std::find_if(groups.begin(), groups.end(),
                                    [&](const RankGroup& g) { return g.first() == row->rank; });
    if (group == groups.end()) continue;
    if (lines.size() == kMostRows) {
      ++left_out;
    } else {
      lines.push_back(line_of(*row, group->label(), groups.size() > 1, narrow));
    }
  }
  for (const TimeRow& row : verdict.times) lines.push_back(line_of(row));

  const double pitch = 22, top = 46, left = narrow ? 136 : 270, right = width - (narrow ? 76 : 110);
  const double zero = (left + right) / 2, unit = (right - left) / 2 / (kEdge + 0.5);
  const double bottom = top + pitch * static_cast<double>(lines.size());
  Svg svg(width, bottom + (left_out > 0 ? 46 : 28), "chart errors", "Error of every row",
          "Predicted minus observed, in percent of the observed; the band is 5 percent to either "
          "side.");
  svg.rect(zero - kBand * unit, top - 6, 2 * kBand * unit, bottom - top + 6, "band",
           "within 5 percent");
  for (int percent = -10; percent <= 10; percent += 5) {
    const double x = zero + percent * unit;
    svg.line({x, top - 6}, {x, bottom}, percent == 0 ? "axis" : "grid");
    const std::string sign = percent > 0 ? "+" : "";
    svg.text({x, bottom + 16}, sign + std::to_string(percent) + (narrow ? "" : " %"), "t dim",
             Anchor::kMiddle);
  }
  svg.text({zero - 8, 16}, narrow ? "\u2190 too little" : "\u2190 predicted too little", "t dim",
           Anchor::kEnd);
  svg.text({zero + 8, 16}, narrow ? "too much \u2192" : "predicted too much \u2192", "t dim");
  double y = top + pitch / 2 - 3;
  for (const Line& line : lines) {
    svg.text({left - 10, y + 4}, shortened(clean_text(line.label, "?"), narrow ? 19 : 42), "t",
             Anchor::kEnd);
    draw_mark(svg, line, zero, unit, y);
    svg.text({right + 10, y + 4}, line.value,
             line.outcome == Outcome::kWithin ? "t dim" : "t strong");
    y += pitch;
  }
  if (left_out > 0) {
    svg.text({left - 10, bottom + 36},
             fmt::format("{} rows with smaller errors not drawn", left_out), "t dim");
  }
  return svg.finish();
}

}  // namespace vramplan
