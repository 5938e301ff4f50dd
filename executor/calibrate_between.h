#pragma once
// CalibrateBetween: what a pass takes outside of its operations: tensors taken and given back,
// views made, operations looked at by a clock.
#include <span>

#include "executor/clock.h"
#include "kernels/ops.h"

namespace vramplan {

/// Seconds an operation, median of `rounds` of some decode steps: the executor's own passes run
/// over a small model whose operations compute nothing, but read some of `memory`, so that the code
/// between them finds caches as a model leaves them. `ops` is asked for the workspace only. 0 when
/// the clock stands still.
double measure_between(const Ops& ops, const Clock& clock, std::span<const std::byte> memory,
                       int rounds);

}  // namespace vramplan
