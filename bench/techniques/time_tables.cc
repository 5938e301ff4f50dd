// Every technique at 2,048 tokens: rows, effect and times, planned and observed.
#include "bench/techniques/page.h"
#include "planner/latency.h"
#include "reports/headline.h"

namespace vramplan {
namespace {

constexpr std::int64_t kContext = 2048, kOutput = 65;
constexpr int kRounds = 3;

struct Technique {
  std::string flags;
  PlanRequest request;
};

class Techniques {
 public:
  PlanRequest& add(std::string flags) {
    PlanRequest request;
    request.batch = 1;
    request.threads = 2;
    all_.push_back({std::move(flags), request});
    return all_.back().request;
  }
  void add_caches() {
    for (const KvFormat format :
         {KvFormat::kFp8, KvFormat::kInt8, KvFormat::kQ4_0, KvFormat::kKivi4, KvFormat::kKivi2}) {
      add(std::string("--kv-cache-dtype ") + name_of(format)).kv_format = format;
    }
    add("--kv-policy strided").kv_policy = KvPolicy::kStrided;
    PlanRequest& sinks = add("--kv-policy sink_window --kv-sinks 4 --kv-window 508");
    sinks.kv_policy = KvPolicy::kSinkWindow;
    sinks.kv_sinks = Tokens{4};
    sinks.kv_window = Tokens{508};
    PlanRequest& mass = add("--kv-policy mass --kv-budget 410");
    mass.kv_policy = KvPolicy::kMass;
    mass.kv_budget = Tokens{410};
    add("--kv-layout contiguous").kv_layout = KvLayout::kContiguous;
  }
  void add_placements(const DeviceCard& device) {
    add("--kv-placement host").kv_placement = KvPlacement::kHost;
    if (has_far_link(device, KvPlacement::kDisk)) {
      add("--kv-placement disk").kv_placement = KvPlacement::kDisk;
    }
    add("--weight-offload 0.5").weight_offload = 0.5;
    add("--activation-offload").activation_offload = true;
    PlanRequest& both = add("--kv-cache-dtype kivi2 --kv-placement host");
    both.kv_format = KvFormat::kKivi2;
    both.kv_placement = KvPlacement::kHost;
  }
  void add_sequences() {
    PlanRequest& samples = add("--samples 3");
    samples.batch = samples.samples = 3;
    PlanRequest& beams = add("--beams 3");
    beams.batch = beams.beams = 3;
    PlanRequest& swap = add("--batch 3 --preempt swap --kv-pool 5k");
    swap.batch = 3;
    swap.preempt = PreemptRequest::kSwap;
    swap.kv_pool = Tokens{5120};
    PlanRequest& replicas = add("--replicas 2 --threads 1");
    replicas.replicas = 2;
    replicas.threads = 1;
    PlanRequest& guesses = add("--speculate ngram:4");
    guesses.guess = Guess::kNgram;
    guesses.guess_tokens = 4;
  }
  const std::vector<Technique>& all() const { return all_; }

 private:
  std::vector<Technique> all_;
};

}  // namespace

void time_tables(const Setting& setting, Page& page) {
  page.line(
      "| {} tokens, {} of them made | gating rows exact | device bytes saved, planned | observed | "
      "TTFT planned | observed | | step planned | observed | |",
      kContext, kOutput);
  page.line("|---|---|---|---|---|---|---|---|---|---|");
  Techniques techniques;
  techniques.add("(none)");
  techniques.add_caches();
  techniques.add_placements(setting.device);
  techniques.add_sequences();
  double planned_full = 0, full = 0;
  for (const Technique& technique : techniques.all()) {
    const RunRecord run = setting.record_of(technique.request, kContext, kOutput, kRounds);
    const Timings& seen = run.measurement.timings;
    const Predictions& p = run.plan.predictions;
    const auto planned_bytes = static_cast<double>(tensor_bytes(p.ledger).n);
    const auto bytes = static_cast<double>(tensor_bytes(run.measurement.observed).n);
    if (full == 0) planned_full = planned_bytes, full = bytes;
    const double planned_step = p.speculation ? p.speculation->step.v : p.performance.tpot.v;
    const double step = seen.tpot.v * seen.tokens_a_step;
    const RowCounts rows = count_rows(run.verdict);
    page.line(
        "| `{}` | {} of {} | {:.2f} % | {:.2f} % | {:.0f} ms | {:.0f} ms | {} | {:.2f} ms | {:.2f} "
        "ms | {} |",
        technique.flags, rows.exact, rows.gating(), 100 * (1 - planned_bytes / planned_full),
        100 * (1 - bytes / full), 1e3 * p.performance.ttft.v, 1e3 * seen.ttft.v,
        error_of(p.performance.ttft.v, seen.ttft.v), 1e3 * planned_step, 1e3 * step,
        error_of(planned_step, step));
    Page::did(technique.flags);
  }
}

}  // namespace vramplan
