#pragma once
// KvOffload accounts: the cache of some layers of a rank lives in host memory or on a disk and
// comes in layer by layer for each pass; the device keeps the other layers and staging.
#include "modelcards/device_card.h"
#include "modelcards/shared_speeds.h"
#include "planner/weights.h"

namespace vramplan {

/// One rank's cache by where it lies, for one block of tokens.
struct KvOffloadBytes {
  std::int64_t layers = 0, far_layers = 0, staging = 0;  // layers; staging: of them at one time
  Bytes part, far_part;  // of one layer: K and V; what it takes beyond the device
  Bytes device_block() const { return part * (layers - far_layers) + far_part * staging; }
  Bytes far_block() const { return far_part * far_layers; }
};
/// Errors: kUnsupported naming what does not go together with a cache beyond the device: a model
/// whose layers differ in their cache, a window policy.
KvOffloadBytes kv_offload_bytes(const RankModel& model, const Decisions& decisions);

/// Records of a disk pass through pinned memory beside a GPU: as much as the staging on the device,
/// and room to align it for direct I/O.
inline constexpr Bytes kPinnedAlignment{4096};
Bytes kv_pinned_bytes(const RankModel& model, const Decisions& decisions);

/// Layers to keep so that `share` (0 < share < 1) of the cache of `layers` layers leaves the
/// device, staging counted as staying. Errors: kUsage when not even one layer's staging may stay.
KvOffload kv_offload_for(double share, std::int64_t layers);
/// The same for as much of the cache as can leave.
KvOffload widest_kv_offload(std::int64_t layers);

/// What transfers add to the time of a pass.
struct KvStreamTimes {
  Seconds layer;  // computing of one layer
  Seconds rest;   // of the pass outside of layers
  Link link;      // the way between the tiers
  SharedSpeeds speeds;
};
/// Seconds that a pass of the steady state waits: layer k's blocks come in once the layer that had
/// their staging before is done and written back, one transfer after another. `fetched`, `written`:
/// blocks of a layer.
Seconds kv_stream_stall(const KvOffloadBytes& bytes, const Decisions& decisions,
                        std::int64_t fetched, std::int64_t written, const KvStreamTimes& times);

}  // namespace vramplan
