// What the system around the cache saves and costs: caches, weights and hidden states beyond the
// device, pools that are too small for all sequences, and processes over one copy of the weights.
#include "bench/techniques/page.h"
#include "planner/latency.h"

namespace vramplan {
namespace {

constexpr std::int64_t kPrompt = 1000, kOutput = 33;
constexpr std::int64_t kPool = 3 * kPrompt + 100;  // tokens, with preemption

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

/// Rows that replicas share, and those of each.
void replica_rows(const RunRecord& run, Page& page) {
  const Ledger &planned = run.plan.predictions.ledger, &seen = run.measurement.observed;
  const auto sum = [](const Ledger& ledger, Category category) {
    return ledger.sum(0, TierKind::kDevice, category).n;
  };
  const auto row = [&](const std::string& name, std::int64_t predicted, std::int64_t observed) {
    page.line("| {} | {} | {} | {} |", name, predicted, observed,
              error_of(static_cast<double>(predicted), static_cast<double>(observed)));
  };
  row("weights, once", sum(planned, Category::kWeights), sum(seen, Category::kWeights));
  row("KV cache of all", sum(planned, Category::kKvCache), sum(seen, Category::kKvCache));
  const auto peak = [](const Ledger& ledger) {
    Bytes most;
    for (const LedgerRow& r : ledger.rows()) {
      if (r.category == Category::kActivations) most = std::max(most, r.bytes);
    }
    return most.n;
  };
  row("activations of all, peak", peak(planned), peak(seen));
  // What this program is before it opens a model is not what the card's program is.
  const auto base = [](const Ledger& ledger) {
    Bytes bytes;
    for (const LedgerRow& r : ledger.rows()) {
      if (r.name == "process base") bytes = r.bytes;
    }
    return bytes;
  };
  row("all processes, sum of proportional bytes, less the process base",
      (planned.peak(0, TierKind::kDevice) - base(planned)).n,
      (run.measurement.process_peak - base(seen)).n);
  Bytes apart;
  for (const ReplicaMeasurement& replica : run.measurement.replicas) apart += replica.resident;
  page.line("| the same as separate processes, sum of resident bytes | | {} | |", apart.n);
}

}  // namespace

Bytes tensor_bytes(const Ledger& ledger) {
  return ledger.peak(0, TierKind::kDevice) - ledger.sum(0, TierKind::kDevice, Category::kRuntime);
}

void placement_tables(const Setting& setting, Page& page) {
  page.line(
      "| {} tokens | device bytes predicted | observed | saved | first token predicted | observed "
      "| step predicted | observed | same tokens |",
      kPrompt + kOutput);
  page.line("|---|---|---|---|---|---|---|---|---|");
  std::vector<std::vector<std::int32_t>> said;
  double full = 0;
  for (const Row& row : beyond_the_device(setting.device)) {
    const PlannedRun r = setting.run_of(row.request, {setting.first(kPrompt)}, kOutput);
    const Timings& seen = r.measurement.timings;
    const Performance& planned = r.plan.predictions.performance;
    const auto bytes = static_cast<double>(tensor_bytes(r.measurement.observed).n);
    if (said.empty()) said = r.measurement.output;
    if (full == 0) full = bytes;
    page.line("| {} | {} | {} | {:.1f} % | {:.0f} ms | {:.0f} ms | {:.2f} ms | {:.2f} ms | {} |",
              row.name, tensor_bytes(r.plan.predictions.ledger).n,
              tensor_bytes(r.measurement.observed).n, 100 * (1 - bytes / full),
              1e3 * planned.ttft.v, 1e3 * seen.ttft.v, 1e3 * planned.tpot.v, 1e3 * seen.tpot.v,
              r.measurement.output == said ? "yes" : "no");
    Page::did(row.name);
  }
}

/// Four sequences; three prompts fit, and then grow.
void preemption_tables(const Setting& setting, Page& page) {
  page.line(
      "| 4 sequences of {} tokens, blocks for {} | preempted, predicted | observed | blocks moved, "
      "predicted | observed | tokens recomputed, predicted | observed | costs, predicted |",
      kPrompt + 200, kPool);
  page.line("|---|---|---|---|---|---|---|---|");
  for (const PreemptRequest way :
       {PreemptRequest::kSwap, PreemptRequest::kRecompute, PreemptRequest::kAuto}) {
    PlanRequest request = base_request();
    request.batch = 4;
    request.preempt = way;
    request.kv_pool = Tokens{kPool};
    const std::vector<std::vector<std::int32_t>> prompts(4, setting.first(kPrompt));
    const PlannedRun r = setting.run_of(request, prompts, 200);
    const PreemptionPrediction planned = r.plan.predictions.preemption.value();
    const PreemptionCounts seen = r.measurement.preemption.value();
    page.line("| {} | {} | {} | {} | {} | {} | {} | {:.0f} ms |", name_of(way),
              planned.counts.preempted, seen.preempted, planned.counts.moved.n, seen.moved.n,
              planned.counts.recomputed.n, seen.recomputed.n, 1e3 * planned.seconds.v);
    Page::did(std::string("preemption: ") + name_of(way));
  }
}

void replica_tables(const Setting& setting, Page& page) {
  constexpr int kReplicas = 4;
  page.line(
      "| {} processes over one copy of the weights, 2 sequences of 512 tokens each | "
      "predicted | observed | |",
      kReplicas);
  page.line("|---|---|---|---|");
  PlanRequest request = base_request();
  request.batch = 2;
  request.replicas = kReplicas;
  request.threads = 1;
  replica_rows(setting.record_of(request, 512, 8, 1), page);
  Page::did("replicas");
}

}  // namespace vramplan
