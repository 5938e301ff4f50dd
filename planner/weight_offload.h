#pragma once
// WeightOffload accounts: the matrices of some layers live in host memory and come in layer by
// layer for each pass; norms, biases, tables and the head stay on the device.
#include "modelcards/shared_speeds.h"
#include "planner/weights.h"

namespace vramplan {

/// Matrices of a layer move; vectors and routers are too small to wait for.
bool is_streamed_tensor(const WeightTensor& tensor);
/// Sets `streamed` and `weight_staging` of a model whose layers are known. Errors: kUnsupported
/// beside a cache beyond the device: both would wait for one link.
void mark_streamed(RankModel& model, const Decisions& decisions);

/// A layer's matrices, each rounded up to 256 B: what one transfer moves.
Bytes streamed_layer_bytes(const LayerKind& kind);
/// Of all streamed layers: host memory.
Bytes streamed_bytes(const RankModel& model);
/// weight_staging rooms of the largest streamed layer: device memory.
Bytes weight_staging_bytes(const RankModel& model);

/// `share` (0 < share < 1) of the matrices of `layers` layers, in whole layers, staging counted as
/// staying. Errors: kUsage naming the most that can leave.
WeightOffload weight_offload_for(double share, std::int64_t layers);

/// What transfers add to the time of a pass.
struct WeightStreamTimes {
  Seconds layer;                          // computing of one layer
  Seconds rest;                           // of the pass outside of layers
  double bytes_per_s = 0, latency_s = 0;  // from host memory, and of one transfer
  SharedSpeeds speeds;
};
/// Seconds that a pass of the steady state waits: the matrices of a streamed layer come in once the
/// layer that had their room is done, across the end of a pass too.
Seconds weight_stream_stall(const RankModel& model, const Decisions& decisions,
                            const WeightStreamTimes& times);

}  // namespace vramplan
