// What the system around the cache saves and costs: caches, weights and hidden states beyond the
// device, and pools that are too small for all sequences.
#include <fmt/format.h>

#include <cstdio>
#include <iterator>

#include "bench/techniques/setting.h"
#include "planner/latency.h"

namespace vramplan {
namespace {

constexpr std::int64_t kPrompt = 1000, kOutput = 33;
constexpr std::int64_t kPool = 3 * kPrompt + 100;  // tokens, with preemption

/// Of tensors and blocks; what the process is besides changes with nothing here.
Bytes tensors(const Ledger& ledger) {
  return ledger.peak(0, TierKind::kDevice) - ledger.sum(0, TierKind::kDevice, Category::kRuntime);
}

struct Row {
  const char* name;
  PlanRequest request;
};

/// What needs a rate that the card does not have is left out: calibrate --offload-dir measures
/// disks.
std::vector<Row> beyond_the_device(const DeviceCard& device) {
  std::vector<Row> rows;
  const auto add = [&](const char* name) -> PlanRequest& {
    rows.push_back({name, base_request()});
    return rows.back().request;
  };
  add("all on the device");
  const auto cache = [&](const char* name, KvPlacement placement) {
    PlanRequest& request = add(name);
    request.kv_placement = placement;
    request.kv_offload = 0.8;
  };
  cache("80 % of the cache on the host", KvPlacement::kHost);
  if (has_far_link(device, KvPlacement::kDisk)) {
    cache("80 % of the cache on a disk", KvPlacement::kDisk);
  }
  add("half of the matrices on the host").weight_offload = 0.5;
  add("the prompt in one pass").prefill_chunk = Tokens{kPrompt};
  add("prefill layer by layer").activation_offload = true;
  PlanRequest& both = add("half of the matrices on the host, prefill layer by layer");
  both.weight_offload = 0.5;
  both.activation_offload = true;
  return rows;
}

class SystemTables {
 public:
  explicit SystemTables(const Setting& setting) : setting_(setting) {}

  std::string run() {
    placement();
    preemption();
    return std::move(out_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  void placement() {
    line(
        "\n| {} tokens | device bytes predicted | observed | saved | first token predicted | "
        "observed | step predicted | observed | same tokens |",
        kPrompt + kOutput);
    line("|---|---|---|---|---|---|---|---|---|");
    std::vector<std::vector<std::int32_t>> said;
    double full = 0;
    for (const Row& row : beyond_the_device(setting_.device)) {
      const PlannedRun r = setting_.run_of(row.request, {setting_.first(kPrompt)}, kOutput);
      const Timings& seen = r.measurement.timings;
      const Performance& planned = r.plan.predictions.performance;
      const auto bytes = static_cast<double>(tensors(r.measurement.observed).n);
      if (said.empty()) said = r.measurement.output;
      if (full == 0) full = bytes;
      line("| {} | {} | {} | {:.1f} % | {:.0f} ms | {:.0f} ms | {:.2f} ms | {:.2f} ms | {} |",
           row.name, tensors(r.plan.predictions.ledger).n, tensors(r.measurement.observed).n,
           100 * (1 - bytes / full), 1e3 * planned.ttft.v, 1e3 * seen.ttft.v, 1e3 * planned.tpot.v,
           1e3 * seen.tpot.v, r.measurement.output == said ? "yes" : "no");
      std::fprintf(stderr, "%s\n", row.name);
    }
  }

  /// Four sequences; three prompts fit, and then grow.
  void preemption() {
    line(
        "\n| 4 sequences of {} tokens, blocks for {} | preempted, predicted | observed | blocks "
        "moved, predicted | observed | tokens recomputed, predicted | observed | costs, predicted "
        "|",
        kPrompt + 200, kPool);
    line("|---|---|---|---|---|---|---|---|");
    for (const PreemptRequest way :
         {PreemptRequest::kSwap, PreemptRequest::kRecompute, PreemptRequest::kAuto}) {
      PlanRequest request = base_request();
      request.batch = 4;
      request.preempt = way;
      request.kv_pool = Tokens{kPool};
      const std::vector<std::vector<std::int32_t>> prompts(4, setting_.first(kPrompt));
      const PlannedRun r = setting_.run_of(request, prompts, 200);
      const PreemptionPrediction planned = r.plan.predictions.preemption.value();
      const PreemptionCounts seen = r.measurement.preemption.value();
      line("| {} | {} | {} | {} | {} | {} | {} | {:.0f} ms |", name_of(way),
           planned.counts.preempted, seen.preempted, planned.counts.moved.n, seen.moved.n,
           planned.counts.recomputed.n, seen.recomputed.n, 1e3 * planned.seconds.v);
      std::fprintf(stderr, "preemption: %s\n", name_of(way));
    }
  }

  const Setting& setting_;
  std::string out_;
};

}  // namespace

std::string system_tables(const Setting& setting) { return SystemTables(setting).run(); }

}  // namespace vramplan
