#pragma once
// Assumed values: what of a device card nobody measured or read in a data sheet.
#include <vector>

#include "modelcards/device_card.h"
#include "planner/plan.h"

namespace vramplan {

/// Of the values that these decisions depend on, those that are assumed.
std::vector<Assumption> assumed_values(const DeviceCard& device, const Decisions& decisions);

}  // namespace vramplan
