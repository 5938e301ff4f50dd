#pragma once
// Need: what a rank will take, found by running the same code on memory that does not exist. Not a
// formula and not a prediction: the arenas and the pool of that dry run are read off.
#include <vector>

#include "executor/rank_engine.h"
#include "modelcards/device_card.h"

namespace vramplan {

struct RankNeed {
  RegionSizes sizes;  // regions that hold every take; blocks = the pool of the plan
  Blocks held;        // most blocks at the same time
  Bytes block_bytes;
  /// The regions of the plan, or what is left of them on a device with less: weights and
  /// activations first, whole blocks from the rest. The take that does not fit then fails where it
  /// happens.
  RegionSizes within(Bytes free_now) const;
  Bytes total() const { return sizes.weights + sizes.activations + block_bytes * sizes.blocks.n; }
};

/// `prompt_tokens`: one length a sequence. `logits_of_all`: see SchedulerOptions.
RankNeed measure_need(const Decisions& decisions, const ModelSource& source,
                      const DeviceCard& device, const ModelPart& part,
                      const std::vector<std::int64_t>& prompt_tokens, bool logits_of_all);

}  // namespace vramplan
