#pragma once
// What a plan pays for bytes that live beyond the device, against the same plan with everything on
// it, and what bringing a cache back is worth against computing it again.
#include "planner/account.h"
#include "planner/plan.h"

namespace vramplan {

/// The same decisions with the cache and the matrices on the device.
Decisions all_on_device(Decisions decisions);

/// For a plan that keeps cache or matrices beyond the device; `performance` is that plan's. A
/// sequence's cache comes back in (bytes / link rate + one transfer's latency a layer) of the stage
/// that takes longest; computing it again is the prefill of its prompt. The two are equal at
/// bytes / (prefill - latencies). Errors: as far_link.
OffloadPrediction weigh_offload(const ModelSource& source, const DeviceCard& device,
                                const Decisions& decisions, const Performance& performance);

}  // namespace vramplan
