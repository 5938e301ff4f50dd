#include "planner/weight_offload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/transfer_lane.h"

namespace vramplan {
namespace {

constexpr Bytes kAlignment{256};

}  // namespace

bool is_streamed_tensor(const WeightTensor& tensor) {
  if (tensor.part == Part::kVector || tensor.part == Part::kRouter) return false;
  return tensor.group == "attention" || tensor.group == "feed_forward";
}

void mark_streamed(RankModel& model, const Decisions& decisions) {
  const auto layers = static_cast<std::int64_t>(model.kind_of_layer.size());
  if (decisions.weight_offload.layers == 0 || layers == 0) return;
  if (decisions.kv_placement != KvPlacement::kDevice) {
    throw Error(ErrorCode::kUnsupported,
                "weights in host memory beside a cache beyond the device: one link for both")
        .at("", "--weight-offload")
        .help("use one of --weight-offload and --kv-placement");
  }
  std::int64_t streamed = 0;
  for (std::int64_t i = 0; i < layers; ++i) {
    if (!is_streamed(decisions, i, layers)) continue;
    ++model.kinds[model.kind_of_layer[static_cast<std::size_t>(i)]].streamed;
    ++streamed;
  }
  model.weight_staging = std::min(decisions.weight_offload.staging, streamed);
}

Bytes streamed_layer_bytes(const LayerKind& kind) {
  Bytes bytes;
  for (const WeightTensor& tensor : kind.tensors) {
    if (is_streamed_tensor(tensor)) bytes += round_up(tensor.bytes(), kAlignment);
  }
  return bytes;
}

Bytes streamed_bytes(const RankModel& model) {
  Bytes bytes;
  for (const LayerKind& kind : model.kinds) {
    if (kind.streamed > 0) bytes += streamed_layer_bytes(kind) * kind.streamed;
  }
  return bytes;
}

Bytes weight_staging_bytes(const RankModel& model) {
  Bytes largest;
  if (model.weight_staging == 0) return largest;
  for (const LayerKind& kind : model.kinds) {
    if (kind.streamed > 0) largest = std::max(largest, streamed_layer_bytes(kind));
  }
  return largest * model.weight_staging;
}

WeightOffload weight_offload_for(double share, std::int64_t layers) {
  const auto stays =
      static_cast<std::int64_t>(std::floor((1 - share) * static_cast<double>(layers) + 1e-9));
  if (stays < 1) {
    throw Error(
        ErrorCode::kUsage,
        fmt::format("{:.4g} of the matrices of {} layers cannot leave the device", share, layers))
        .at("", "--weight-offload")
        .help(fmt::format("the layer that computes must be there: at most {:.4g}",
                          1 - 1 / static_cast<double>(layers)));
  }
  const std::int64_t staging = std::min<std::int64_t>(2, stays);
  return {layers - (stays - staging), staging};
}

Seconds weight_stream_stall(const RankModel& model, const Decisions& decisions,
                            const WeightStreamTimes& times) {
  std::vector<double> moving;  // of each streamed layer, in order
  const auto layers = static_cast<std::int64_t>(model.kind_of_layer.size());
  for (std::int64_t i = 0; i < layers; ++i) {
    if (!is_streamed(decisions, i, layers)) continue;
    const LayerKind& kind = model.kinds[model.kind_of_layer[static_cast<std::size_t>(i)]];
    moving.push_back(times.latency_s +
                     static_cast<double>(streamed_layer_bytes(kind).n) / times.bytes_per_s);
  }
  const auto count = static_cast<std::int64_t>(moving.size());
  const std::int64_t staging = std::max<std::int64_t>(1, model.weight_staging);
  const auto moves = [&](std::int64_t k) {  // of the layer that comes into the room of k
    const std::int64_t next = next_streamed(k, count, staging);
    return next == k ? 0.0 : moving[static_cast<std::size_t>(next)];
  };
  std::vector<double> coming(moving.size(), 0);
  TransferLane lane(times.speeds);
  double begin = 0;
  for (int pass = 0; pass < 3; ++pass) {  // the last begins as every later one
    begin = lane.now();
    std::int64_t k = 0;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const bool streamed = is_streamed(decisions, layer, layers);
      if (streamed) lane.wait(coming[static_cast<std::size_t>(k)]);
      lane.compute(times.layer.v);
      if (!streamed) continue;
      const std::int64_t next = next_streamed(k, count, staging);
      if (next != k) coming[static_cast<std::size_t>(next)] = lane.begin(moves(k));
      ++k;
    }
    lane.compute(times.rest.v);
  }
  const double computing = times.layer.v * static_cast<double>(layers) + times.rest.v;
  return {std::max(0.0, lane.now() - begin - computing)};
}

}  // namespace vramplan
