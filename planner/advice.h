#pragma once
// Advice: the changes that would make a plan fit, or what the spare memory buys, each computed as a
// plan of its own account: no rule of thumb.
#include <string>
#include <vector>

#include "planner/account.h"

namespace vramplan {

/// One sentence a change, those that suffice first; each with the bytes it saves on the fullest
/// rank.
std::vector<std::string> advise(const ModelSource& source, const DeviceCard& device,
                                const Decisions& decisions, const TokenizerTables& tables,
                                const std::vector<StageAccount>& stages, const Capacity& capacity);

}  // namespace vramplan
