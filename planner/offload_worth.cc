#include "planner/offload_worth.h"

#include <algorithm>

#include "planner/kv_cache.h"
#include "planner/latency.h"

namespace vramplan {
namespace {

struct Returning {
  Bytes bytes;       // of one sequence's prompt, on the stage that takes longest
  Seconds latency;   // of its transfers, a layer each
  Seconds transfer;  // bytes at the link's rate
};

Returning bring_back(const std::vector<RankModel>& stages, const Decisions& decisions,
                     const DeviceCard& device) {
  const Link link = far_link(device, decisions.kv_placement);
  const Tokens prompt = decisions.context - decisions.output;
  Returning longest;
  for (const RankModel& stage : stages) {
    const Bytes bytes = kv_growing_per_token(stage, decisions) * prompt;
    const Seconds latency{link.latency_s.value * static_cast<double>(stage.kind_of_layer.size())};
    const Seconds transfer{static_cast<double>(bytes.n) / link.bytes_per_s.value};
    if (transfer + latency > longest.transfer + longest.latency)
      longest = {bytes, latency, transfer};
  }
  return longest;
}

}  // namespace

Decisions all_on_device(Decisions decisions) {
  decisions.kv_placement = KvPlacement::kDevice;
  decisions.kv_offload = {};
  decisions.weight_offload = {};
  return decisions;
}

OffloadPrediction weigh_offload(const ModelSource& source, const DeviceCard& device,
                                const Decisions& decisions, const Performance& performance) {
  const Decisions near = all_on_device(decisions);
  std::vector<RankModel> stages;
  for (const StageAccount& stage : stage_accounts(source, device, near, {})) {
    stages.push_back(stage.model);
  }
  const Performance without = predict_performance(stages, near, device);
  OffloadPrediction out;
  out.device_tpot = without.tpot;
  if (without.tpot.v > 0) out.slowdown = performance.tpot.v / without.tpot.v;
  if (decisions.kv_placement == KvPlacement::kDevice) return out;
  const Returning back = bring_back(stages, decisions, device);
  out.cache = back.bytes;
  out.reload = back.transfer + back.latency;
  out.recompute = without.ttft;
  const double left = without.ttft.v - back.latency.v;
  if (left > 0) out.break_even = {static_cast<double>(back.bytes.n) / left};
  return out;
}

}  // namespace vramplan
