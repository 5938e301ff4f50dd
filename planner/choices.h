#pragma once
// Choices: a request with every open question answered. What was not asked for is chosen here and
// listed as an assumption with the flag that changes it.
#include <utility>
#include <vector>

#include "planner/plan.h"

namespace vramplan {

struct Choices {
  Decisions decisions;
  std::vector<Assumption> assumptions;
};

/// Errors: kUsage naming the flag for values that contradict each other, the card or the device.
Choices make_choices(const ModelSource& source, const DeviceCard& device,
                     const PlanRequest& request);

}  // namespace vramplan
