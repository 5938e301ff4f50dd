#pragma once
// MemoryBar: what a tier of a rank holds at its highest predicted phase, by category, predicted or
// observed: the arithmetic behind the stacked bars.
#include <string>
#include <vector>

#include "reports/rank_groups.h"

namespace vramplan {

struct BarPart {
  Category category = Category::kWeights;
  Bytes bytes;
};

struct MemoryBar {
  std::string label;  // "rank 0 device", "ranks 0-7 device"
  bool observed = false;
  Phase phase = Phase::kLoad;  // the phase with the most predicted bytes
  Bytes total;                 // sum of parts
  Bytes capacity;              // of the rank's device, 0 when it is not known (host)
  std::vector<BarPart> parts;  // in the order of Category, none empty
};

/// Predicted, then (when there is a verdict) observed, for every group of equal ranks and every
/// tier that has rows.
std::vector<MemoryBar> memory_bars(const Plan& plan, const Measurement* measurement,
                                   const std::vector<RankGroup>& groups);

}  // namespace vramplan
