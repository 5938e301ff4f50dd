#pragma once
// run_replicas: one plan in several processes at the same time, over one copy of the weights.
#include "executor/engine.h"

namespace vramplan {

/// Loads the weights into memory that is shared and then read-only, forks `decisions.replicas`
/// processes that each build their engine over it and run the whole plan, and looks at each one's
/// proportional bytes while all still hold everything. `make_backend`: as for run_local; it is
/// called in each process. Only the first replica gives its tokens and progress away. Errors: see
/// run_plan and ReplicaGroup.
Measurement run_replicas(
    const Decisions& decisions, const ModelSource& source, const DeviceCard& device,
    const RunRequest& request,
    const std::function<std::unique_ptr<Backend>(Bytes capacity)>& make_backend);

}  // namespace vramplan
