#pragma once
// Explain: the plan as prose and arithmetic: every row with its formula and numbers put in, and
// where each input was read. Renders what make_plan computed; computes nothing itself.
#include <string>

#include "planner/plan.h"

namespace vramplan {

/// Plain text, one line a fact, lines as long as their formula.
std::string explain(const ModelSource& source, const DeviceCard& device, const Plan& plan);

}  // namespace vramplan
