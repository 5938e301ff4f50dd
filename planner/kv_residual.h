#pragma once
// KvResidual's rules: which formats and policies keep their newest tokens apart, what goes with
// them, and which windows and strides there are.
#include "modelcards/model_card.h"
#include "planner/decisions.h"
#include "planner/plan.h"

namespace vramplan {

/// kivi2 or kivi4, of any layer, or the policy strided.
bool takes_residual(const Decisions& decisions);

/// Sources: a residual of 128 tokens (Liu et al. 2024, "KIVI"); strided: a window of 512 and a
/// stride of 4, which in 8 bits make 8192 tokens of 128 elements 5.57 times smaller, no scale
/// counted.
KvResidual usual_residual(const Decisions& decisions);

/// Rows of the history that a block of the window becomes; 1 without a window.
std::int64_t residual_step(const KvResidual& residual);

/// Errors: kUsage for a flag of a window where there is none; kUnsupported for what a window does
/// not go with: policies that give blocks back, layers with windows of their own, a contiguous
/// cache, naive attention, a stride over tiles whose tokens share scales.
void check_residual_request(const ModelCard& card, const Decisions& decisions,
                            const PlanRequest& request);

/// Errors: kUsage unless the window is a multiple of 32, at least 64, and the stride divides 32.
void check_residual(const KvResidual& residual);

/// Passes of prefill go through the window whole, beside a block that leaves it. Errors: kUsage
/// when the decided chunk is larger.
void check_residual_chunk(const Decisions& decisions);

}  // namespace vramplan
