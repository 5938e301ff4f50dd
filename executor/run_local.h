#pragma once
// run_local: one rank on a backend that computes, with real weights, tokens and memory.
#include "executor/engine.h"

namespace vramplan {

/// `make_backend` is called with the bytes that tensors and blocks may take: the plan's capacity
/// less what the process held before. Errors: see run_plan.
Measurement run_local(const Decisions& decisions, const ModelSource& source,
                      const DeviceCard& device, const RunRequest& request,
                      const std::function<std::unique_ptr<Backend>(Bytes capacity)>& make_backend);

}  // namespace vramplan
