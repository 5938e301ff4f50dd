#include "planner/kv_offload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "planner/kv_cache.h"
#include "planner/transfer_lane.h"

namespace vramplan {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& help) {
  throw Error(ErrorCode::kUnsupported, what).at("", "--kv-placement").help(help);
}

}  // namespace

KvOffloadBytes kv_offload_bytes(const RankModel& model, const Decisions& decisions) {
  KvOffloadBytes out;
  if (decisions.samples > 1) {
    refuse("a cache beyond the device that samples of a prompt share and copy on writing",
           "run the samples one after another, or keep the cache on the device");
  }
  if (decisions.kv_layout != KvLayout::kPaged) {
    refuse("a contiguous cache beyond the device", "use --kv-layout paged with it");
  }
  for (const LayerKind& kind : model.kinds) {
    const bool windowed = !keep_of(decisions, kind.layer.mixer.window_tokens).all();
    if (windowed) {
      refuse("a cache beyond the device for layers that keep a window",
             "use --kv-policy keep_all with it");
    }
    const Bytes part =
        kv_bytes_per_token(kind.shape, kind.encoding(decisions)) * Tokens{decisions.block.n};
    if (out.layers > 0 && part != out.part) {
      refuse("a cache beyond the device for layers whose caches differ in size",
             "keep it on the device");
    }
    out.part = part;
    out.layers += kind.count;
  }
  if (model.mtp_layers > 0) {
    refuse("a cache beyond the device beside layers that predict further tokens",
           "--set mtp_loaded=false");
  }
  out.far_part = far_part_bytes(decisions.kv_placement, out.part);
  for (std::int64_t i = 0; i < out.layers; ++i) {
    out.far_layers += is_offloaded(decisions, i, out.layers) ? 1 : 0;
  }
  out.staging = std::min(decisions.kv_offload.staging, out.far_layers);
  return out;
}

Bytes kv_pinned_bytes(const RankModel& model, const Decisions& decisions) {
  if (decisions.kv_placement != KvPlacement::kDisk) return {};
  return kv_staging_bytes(model, decisions) + kPinnedAlignment;
}

KvOffload kv_offload_for(double share, std::int64_t layers) {
  const auto stays =
      static_cast<std::int64_t>(std::floor((1 - share) * static_cast<double>(layers) + 1e-9));
  if (stays < 1) {
    throw Error(
        ErrorCode::kUsage,
        fmt::format("{:.4g} of the cache of {} layers cannot leave the device", share, layers))
        .at("", "--kv-offload")
        .help(fmt::format("the layer that computes must be there: at most {:.4g}",
                          1 - 1 / static_cast<double>(layers)));
  }
  const std::int64_t staging = std::min<std::int64_t>(2, stays);
  return {stays - staging, staging};
}

KvOffload widest_kv_offload(std::int64_t layers) {
  return kv_offload_for(1 - 2 / std::max(3.0, static_cast<double>(layers)), layers);
}

Seconds kv_stream_stall(const KvOffloadBytes& bytes, const Decisions& decisions,
                        std::int64_t fetched, std::int64_t written, const KvStreamTimes& times) {
  const double fetch = fetched > 0 ? read_seconds(times.link, bytes.far_part * fetched).v : 0;
  const double write = written > 0 ? write_seconds(times.link, bytes.far_part * written).v : 0;
  const auto far = static_cast<std::size_t>(bytes.far_layers);
  std::vector<double> coming(far, 0);
  TransferLane lane(times.speeds);
  double begin = 0;
  for (int pass = 0; pass < 2; ++pass) {  // the second meets what the first left to write
    begin = lane.now();
    lane.wait_for_all();
    for (std::size_t k = 0; k < std::min(far, static_cast<std::size_t>(bytes.staging)); ++k) {
      coming[k] = lane.begin(fetch);
    }
    std::size_t k = 0;
    for (std::int64_t layer = 0; layer < bytes.layers; ++layer) {
      const bool far_layer = is_offloaded(decisions, layer, bytes.layers);
      if (far_layer) lane.wait(coming[k]);
      lane.compute(times.layer.v);
      if (!far_layer) continue;
      lane.begin(write);
      const std::size_t next = k + static_cast<std::size_t>(bytes.staging);
      if (next < far) coming[next] = lane.begin(fetch);
      ++k;
    }
    lane.compute(times.rest.v);
  }
  const double computing = times.layer.v * static_cast<double>(bytes.layers) + times.rest.v;
  return {std::max(0.0, lane.now() - begin - computing)};
}

}  // namespace vramplan
