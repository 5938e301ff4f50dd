#pragma once
// run_dry: every rank of a plan on a virtual device of its own, one after another in this process.
// The scheduler, blocks, arenas and the transformer are the real ones; only the arithmetic is left
// out.
#include "executor/engine.h"

namespace vramplan {

/// Errors: see run_plan.
Measurement run_dry(const Decisions& decisions, const ModelSource& source, const DeviceCard& device,
                    const RunRequest& request);

}  // namespace vramplan
