#pragma once
// Charts: the three pictures of a report as SVG, at a width of the caller's choice: a wide one for
// a screen, a narrow one for a phone. They scale and place; what they show was computed before.
#include <string>
#include <vector>

#include "reports/memory_bars.h"
#include "reports/run_record.h"

namespace vramplan {

constexpr double kWideChart = 960, kNarrowChart = 380;

/// Stacked bars, predicted above observed, with the capacity line. When the fullest bar is far
/// below the capacity, the scale is the bar's and the line's place is told in words.
std::string bars_chart(const std::vector<MemoryBar>& bars, double width);

/// Memory of rank 0's device over time: predicted filled, observed as lines. Each phase is a band
/// whose clock starts at 0 in both; seconds are real, and the longer of the two sets the band's
/// scale. Bands share the width by their seconds, none below a sixth. `samples` may be empty.
std::string curve_chart(const std::vector<CurvePoint>& curve,
                        const std::vector<MemorySample>& samples, Bytes capacity, double width);

/// One line a row: signed error in percent of the observed with the band of 5 %, worst first; times
/// below. Errors beyond 10 % are arrows at the edge.
std::string error_chart(const Plan& plan, const Verdict& verdict, double width);

/// Class name of a category's colour: "c-weights".
std::string color_class(Category category);

}  // namespace vramplan
