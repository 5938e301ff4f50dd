#pragma once
// MemoryCurve: bytes live on rank 0's device over the time of a run: load, prefill one sequence
// after another, decode all together. KV blocks count from the step that takes them.
#include <vector>

#include "planner/account.h"

namespace vramplan {

/// Points in order of time; the last holds the full cache. Load takes the weights through the
/// slowest link the card names between disk and device (no time when it names none).
std::vector<CurvePoint> memory_curve(const StageAccount& first_stage, const Decisions& decisions,
                                     const DeviceCard& device, const Performance& performance);

}  // namespace vramplan
