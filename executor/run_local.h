#pragma once
// run_local: one rank on a backend that computes, with real weights, tokens and memory.
#include "executor/engine.h"
#include "executor/rank_engine.h"

namespace vramplan {

/// Of a run over weights that are there already: what else it does.
struct SharedRun {
  const SharedWeights* weights = nullptr;
  std::function<void()> ready;  // called before the first prompt
  std::function<void()> done;   // called when all passes are, and all is still held
};

/// `make_backend` is called with the bytes that tensors and blocks may take: the plan's capacity
/// less what the process held before. With `shared` weights are loaded and counted there, and
/// memory is not refused here. Errors: see run_plan.
Measurement run_local(const Decisions& decisions, const ModelSource& source,
                      const DeviceCard& device, const RunRequest& request,
                      const std::function<std::unique_ptr<Backend>(Bytes capacity)>& make_backend,
                      const SharedRun* shared = nullptr);

}  // namespace vramplan
