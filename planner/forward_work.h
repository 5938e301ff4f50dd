#pragma once
// ForwardWork: every operation of one forward pass of a rank, in the order the transformer calls
// them, those alike added up. Work is additive, so a whole prefill is one such list.
#include <vector>

#include "modelcards/device_card.h"
#include "planner/op_work.h"
#include "planner/weights.h"

namespace vramplan {

/// Whether the kernels of this device do x += p with the norm after it, and rope with the write of
/// K and V, in one call each. They are then counted as a norm and as a kv_write.
inline bool fuses_operations(DeviceKind kind) { return kind == DeviceKind::kGpu; }

/// All operations of one pass of a rank: `tokens` rows of which `logit_rows` need the head, as
/// `sequences` slices of equal length over caches of `kv_length`. `prefill`: part of a prompt, even
/// when it is a single token. With context parallel ranks `tokens` of a prompt are one rank's part,
/// `kv_length` is that of all.
struct PassWork {
  std::int64_t tokens = 1, logit_rows = 0, sequences = 1, kv_length = 1;
  bool prefill = false;
};
std::vector<OpWork> forward_work(const RankModel& model, const Decisions& decisions,
                                 const PassWork& pass, DeviceKind device);
/// Prefill of one whole prompt in chunks; operations of the chunks summed.
std::vector<OpWork> prefill_work(const RankModel& model, const Decisions& decisions,
                                 DeviceKind device);

}  // namespace vramplan
