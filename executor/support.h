#pragma once
// Support: what the executor cannot run is refused here by name, before anything is taken.
#include <string>

#include "modelcards/model_source.h"
#include "planner/decisions.h"

namespace vramplan {

/// Errors: kUnsupported naming layer, kind, format or choice; kUsage for counts that make no run.
/// `computes`: the backend has values, so formats must have kernels and there is one rank; `gpu`:
/// activations may have 16 bits.
void refuse_unsupported(const ModelSource& source, const Decisions& decisions, bool computes,
                        bool random_weights, bool gpu = false);

}  // namespace vramplan
