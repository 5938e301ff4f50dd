#pragma once
// Need: what a rank will take, found by running the same code on memory that does not exist. Not a
// formula and not a prediction: the arenas and the pool of that dry run are read off.
#include <memory>
#include <string>
#include <vector>

#include "executor/rank_engine.h"
#include "modelcards/device_card.h"

namespace vramplan {

/// Regions of a rank and of its draft model on a GPU, and the one reservation that holds them.
struct FittedRegions {
  RegionSizes own, draft;
  Bytes reservation;
};

struct RankNeed {
  RegionSizes sizes;  // regions that hold every take; blocks = the pools of the plan
  /// Of each group of layers: most blocks at the same time, and the bytes of one.
  std::vector<Blocks> held;
  std::vector<Bytes> block_bytes;
  std::shared_ptr<RankNeed> draft;  // of a draft model beside this one; null without
  Bytes staging_block;  // of a cache beyond the device: its staging, a block of the first group
  Bytes staging_of(std::size_t group) const { return group == 0 ? staging_block : Bytes{}; }
  /// The regions of the plan, or what is left of them on a device with less: weights and
  /// activations first, whole blocks from the rest. The take that does not fit then fails where it
  /// happens.
  RegionSizes within(Bytes free_now) const;
  /// Of all pools.
  Bytes pool_bytes() const;
  /// The first pool that holds less than the run needs. Errors: kDoesNotFit with both numbers.
  void require_blocks(const std::string& who) const;
  /// Of tensors and blocks; on a GPU regions begin at multiples of 256 B.
  Bytes total() const;
  /// What the device is asked for: the regions as `within` cut them, rounded to its pages.
  Bytes reservation(const RegionSizes& fitted) const;
  /// Of all regions, the draft model's too.
  Bytes reservation() const;
  /// On a GPU: weights and f32 vectors, of which replicas have one copy.
  Bytes shared_bytes() const;
  /// On a GPU: whole pages of `replicas` processes; of several the shared part is an allocation of
  /// its own.
  Bytes reserved_pages(std::int64_t replicas) const;
  /// On a GPU: what fits the whole pages that are free, the draft model first.
  FittedRegions reserved_within(Bytes free_now) const;
};

/// `prompt_tokens`: one length a sequence. `gpu`: null for a rank without a GpuWorkspace.
/// `logits_of_all`: see SchedulerOptions.
RankNeed measure_need(const Decisions& decisions, const ModelSource& source,
                      const DeviceCard& device, const ModelPart& part,
                      const std::vector<std::int64_t>& prompt_tokens, bool logits_of_all,
                      const GpuFacts* gpu);

}  // namespace vramplan
