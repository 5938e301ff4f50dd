#pragma once
// PreemptChoice: whether sequences must give blocks away, how many blocks there are for them, and
// by which way they come back: the one that costs less.
#include "planner/account.h"
#include "planner/plan.h"

namespace vramplan {

/// Settles Decisions::preempt, kv_blocks and swap_blocks of a plan whose other decisions are made,
/// and Predictions::preemption. Nothing where all sequences fit, or not even one does.
void choose_preemption(const std::vector<StageAccount>& stages,
                       const std::vector<RankModel>& models, const DeviceCard& device,
                       const PlanRequest& request, Plan& plan);

}  // namespace vramplan
