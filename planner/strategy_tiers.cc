// Half of search.h: strategies whose cache or matrices live beyond the device, and strategies as
// requests for make_plan.
#include <algorithm>

#include "planner/account.h"
#include "planner/activation_offload.h"
#include "planner/kv_offload.h"
#include "planner/latency.h"
#include "planner/search.h"
#include "planner/weight_offload.h"

namespace vramplan {

StrategySpace::FarTier StrategySpace::far_tier(const ModelSource& source, const Stages& stages,
                                               const Shard& shard, Decisions d,
                                               const SearchTier& tier) const {
  FarTier far{no_peaks(),
              {batches_.size(), std::vector<double>(devices_.size(), -1)},
              std::vector<double>(devices_.size(), -1)};
  const std::int64_t layers = std::max<std::int64_t>(1, layer_count_ / shard.sharding.pp);
  // Two layers are staged: of fewer than three nothing would leave.
  if (shard.sharding.cp > 1 || (tier.weights_on_host && layers < 3)) return far;
  std::vector<std::pair<StageAccount, int>> there;  // and how many are alike
  d.kv_placement = tier.cache;
  try {
    if (tier.weights_on_host) {
      d.weight_offload = {layers, SearchTier::kStagedLayers};
      d.activation_offload = tier.hidden_on_host;
      check_activation_offload(source.card, d);
      for (const StageClass& one : stages) {
        there.emplace_back(stage_account(source, d, one.first), one.count);
      }
    } else {
      d.kv_offload = widest_kv_offload(layers);
      for (const StageClass& one : stages) there.emplace_back(one.account, one.count);
    }
    for (const auto& [one, count] : there) add_peaks(one, d, stage_extents(one, d), far.peaks);
  } catch (const Error& error) {
    const ErrorCode code = error.code();
    if (code != ErrorCode::kUsage && code != ErrorCode::kUnsupported) throw;
    return far;  // a model whose layers differ in their cache
  }
  const auto decode_wait = [&](const RankModel& model, const Decisions& decisions,
                               const DeviceCard& card, const PassWork& step) {
    return tier.weights_on_host ? decode_weight_stall(model, decisions, card, step)
                                : vramplan::decode_stall(model, decisions, card, step);
  };
  const auto prefill_wait = [&](const RankModel& model, const DeviceCard& card) {
    if (!tier.weights_on_host) return vramplan::prefill_stall(model, d, card);
    Seconds wait = prefill_weight_stall(model, d, card);
    if (tier.hidden_on_host) {
      const auto held = static_cast<std::int64_t>(model.kind_of_layer.size());
      wait += hidden_state_traffic(model.hidden, held, d) /
              BytesPerSecond{far_link(card, KvPlacement::kHost).bytes_per_s.value};
    }
    return wait;
  };
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    const DeviceCard& card = request_.devices[i];
    if (!has_far_link(card, tier.weights_on_host ? KvPlacement::kHost : tier.cache)) continue;
    for (std::size_t b = 0; b < batches_.size(); ++b) {
      const bool needed =
          shard.peaks[b][i] > devices_[i].capacity && far.peaks[b][i] <= devices_[i].capacity;
      if (!needed) continue;
      const Decisions batched = with_batch(d, batches_[b]);
      const PassWork step{batched.batch, batched.batch, batched.batch, mean_context().n};
      Seconds decode, prefill;
      for (const auto& [stage, count] : there) {
        decode.v += decode_wait(stage.model, batched, card, step).v * count;
        if (far.prefill_stall[i] < 0) prefill.v += prefill_wait(stage.model, card).v * count;
      }
      far.decode_stall[b][i] = decode.v;
      if (far.prefill_stall[i] < 0) far.prefill_stall[i] = prefill.v;
    }
  }
  return far;
}

PlanRequest StrategySpace::plan_request(const Strategy& s) const {
  PlanRequest request = request_.plan;
  request.device = request_.devices[s.device].name;
  request.count = s.ranks();
  request.tp = s.tp;
  request.pp = s.pp;
  request.cp = s.cp;
  request.ep = s.ep;
  request.weights = weights_[s.format].dtype;
  request.kv_format = kv_formats_[s.kv_format].format;
  request.batch = s.batch;
  request.kv_placement = tiers_[s.tier].cache;
  if (tiers_[s.tier].weights_on_host) {
    request.weight_offload_layers = WeightOffload{layer_count_ / s.pp, SearchTier::kStagedLayers};
    request.activation_offload = tiers_[s.tier].hidden_on_host;
  }
  return request;
}

}  // namespace vramplan
