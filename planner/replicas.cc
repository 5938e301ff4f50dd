#include "planner/replicas.h"

#include <fmt/format.h>

namespace vramplan {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& help) {
  throw Error(ErrorCode::kUnsupported, "replicas over one copy of the weights " + what)
      .at("", "--replicas")
      .help(help);
}

}  // namespace

void check_replicas(const Decisions& decisions, bool cpu) {
  if (decisions.replicas == 1) return;
  if (decisions.replicas < 1 || decisions.replicas > kMostReplicas) {
    throw Error(ErrorCode::kUsage, fmt::format("{} replicas", decisions.replicas))
        .at("", "--replicas")
        .help(fmt::format("give a number from 1 to {}", kMostReplicas));
  }
  if (!cpu) {
    refuse("of a device whose memory belongs to one process",
           "use --batch, or a cpu or gpu device");
  }
  if (decisions.sharding.ranks() > 1) {
    refuse("that is spread over ranks", "leave --tp and --pp out");
  }
  if (decisions.kv_placement != KvPlacement::kDevice) {
    refuse("with a cache beyond the device: one link for all of them", "--kv-placement device");
  }
  if (decisions.weight_offload.layers > 0) {
    refuse("beside matrices in host memory", "use one of --replicas and --weight-offload");
  }
  if (decisions.speculation.guess == Guess::kDraft) {
    refuse("beside a draft model", "use one of --replicas and --draft, or --speculate ngram");
  }
  if (decisions.activation_offload) {
    refuse("with hidden states in host memory", "use one of --replicas and --activation-offload");
  }
}

namespace {

/// Each process has a cache and activations; on a GPU also a context, kernels, graphs and arrays.
bool is_of_each(const LedgerRow& row, bool gpu) {
  if (row.category == Category::kKvCache || row.category == Category::kActivations) return true;
  if (!gpu) return false;
  return row.category == Category::kGraphs ||
         (row.category == Category::kWorkspace && row.name != "f32 vectors") ||
         row.name == "context" || row.name == "modules";
}

}  // namespace

void add_up_replicas(std::vector<LedgerRow>& rows, const DeviceCard& device,
                     std::int64_t replicas) {
  if (replicas == 1) return;
  const bool gpu = device.kind == DeviceKind::kGpu;
  for (LedgerRow& row : rows) {
    if (row.category == Category::kWeights) {
      row.formula += fmt::format("; one copy for {} replicas", replicas);
    }
    if (!is_of_each(row, gpu)) continue;
    row.bytes = row.bytes * replicas;
    row.formula = fmt::format("{} replicas x ({})", replicas, row.formula);
  }
  if (gpu) return;
  const bool known = device.replica_base_bytes.value > 0;
  rows.push_back({0, TierKind::kDevice, Category::kRuntime, "replicas", Phase::kLoad,
                  replica_base(device) * replicas,
                  fmt::format("{} processes x {} B, {}", replicas, replica_base(device).n,
                              known ? "replica_base_bytes of device card " + device.name
                                    : "assumed; calibrate measures it")});
}

}  // namespace vramplan
