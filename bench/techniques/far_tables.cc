// Contexts that an f16 cache has no room for: 65,536 tokens computed on this machine, 1,048,576 of
// a 70B model on a virtual one.
#include "bench/techniques/page.h"
#include "modelcards/library.h"

namespace vramplan {
namespace {

struct Case {
  const char* name;
  PlanRequest request;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const char* name, KvFormat format) -> PlanRequest& {
    all.push_back({name, {}});
    all.back().request.kv_format = format;
    return all.back().request;
  };
  PlanRequest& small = add("kivi2, all of it on the host", KvFormat::kKivi2);
  small.kv_placement = KvPlacement::kHost;
  small.kv_offload = 0.5;  // two of four layers are on the device at one time
  PlanRequest& sinks = add("4 sinks, window 1020", KvFormat::kF16);
  sinks.kv_policy = KvPolicy::kSinkWindow;
  sinks.kv_sinks = Tokens{4};
  sinks.kv_window = Tokens{1020};
  add("f16, all tokens", KvFormat::kF16);
  return all;
}

Bytes host_bytes(const Ledger& ledger) { return ledger.peak(0, TierKind::kHost); }

struct FarRun {
  const ModelSource& source;
  const DeviceCard& device;
  const char* backend;
};

/// A row, or what the refusal says.
void far_row(const FarRun& on, const Case& one, const PlanRequest& request, Page& page) {
  const Plan plan = make_plan(on.source, on.device, request);
  const Performance& planned = plan.predictions.performance;
  RunRequest run;
  run.random_weights = true;
  try {
    const Measurement m = run_plan(plan.decisions, on.source, on.device, on.backend, run);
    const Timings& seen = m.timings;
    page.line("| {} | {} | {} | {} | {} | {:.2f} s | {:.2f} s | {} | {:.2f} ms | {:.2f} ms | {} |",
              one.name, tensor_bytes(plan.predictions.ledger).n, tensor_bytes(m.observed).n,
              host_bytes(plan.predictions.ledger).n, host_bytes(m.observed).n, planned.ttft.v,
              seen.ttft.v, error_of(planned.ttft.v, seen.ttft.v), 1e3 * planned.tpot.v,
              1e3 * seen.tpot.v, error_of(planned.tpot.v, seen.tpot.v));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kDoesNotFit || plan.predictions.fits) throw;
    page.line("| {} | {} | does not fit (exit {}): {} B are missing | | | | | | | | |", one.name,
              tensor_bytes(plan.predictions.ledger).n, exit_code(error.code()),
              plan.predictions.missing.n);
  }
  Page::did(one.name);
}

void head(const std::string& what, Page& page) {
  page.line(
      "| {} | device bytes predicted | observed | host bytes predicted | observed | TTFT planned | "
      "observed | | step planned | observed | |",
      what);
  page.line("|---|---|---|---|---|---|---|---|---|---|---|");
}

/// Four layers as SmolLM2-135M has thirty of them, weights random in q8_0.
void on_this_machine(const Setting& setting, Page& page) {
  const std::vector<std::string> changes = {"layer_count=4", "context_limit=131072"};
  const ModelSource source = shape_of("smollm2-135m", changes);
  PlanRequest base;
  base.model = "smollm2-135m";
  base.set = changes;
  base.context = Tokens{65537};
  base.output = Tokens{9};
  base.batch = 1;
  base.threads = 2;
  base.weights = DType::kQ8_0;
  const std::vector<Case> all = cases();
  const auto with = [&](const Case& one) {
    PlanRequest request = one.request;
    request.model = base.model;
    request.set = base.set;
    request.context = base.context;
    request.output = base.output;
    request.batch = base.batch;
    request.threads = base.threads;
    request.weights = base.weights;
    return request;
  };
  // Room for the first two and a little, of tensors and of what this process is.
  Bytes capacity;
  for (std::size_t i = 0; i < 2; ++i) {
    const Plan plan = make_plan(source, setting.device, with(all[i]));
    capacity = std::max(capacity, plan.predictions.devices.front().predicted);
  }
  capacity += 64_MiB;
  head(fmt::format("65,536 tokens, 4 layers, capacity {}", capacity.n), page);
  for (const Case& one : all) {
    PlanRequest request = with(one);
    request.capacity = capacity;
    far_row({source, setting.device, "cpu"}, one, request, page);
  }
}

/// Llama-3.1-70B, each of eight ranks of a dry run.
void on_a_virtual_machine(Page& page) {
  const std::vector<std::string> changes = {"context_limit=1048576"};
  const ModelSource source = shape_of("llama-3.1-70b", changes);
  const DeviceCard device = device_card("h100-sxm-80gb");
  std::vector<Case> all;
  const auto add = [&](const char* name, KvFormat format) -> PlanRequest& {
    PlanRequest request;
    request.model = "llama-3.1-70b";
    request.set = changes;
    request.device = "h100-sxm-80gb";
    request.count = 4;
    request.tp = 4;
    request.context = Tokens{1 << 20};
    request.output = Tokens{9};
    request.batch = 1;
    request.weights = DType::kF8E4M3;
    request.kv_format = format;
    request.prefill_chunk = Tokens{4096};
    all.push_back({name, request});
    return all.back().request;
  };
  add("kivi2", KvFormat::kKivi2).kv_residual = Tokens{8192};
  PlanRequest& sinks = add("4 sinks, window 16380", KvFormat::kF16);
  sinks.kv_policy = KvPolicy::kSinkWindow;
  sinks.kv_sinks = Tokens{4};
  sinks.kv_window = Tokens{16380};
  PlanRequest& host = add("fp8, half of it on the host", KvFormat::kFp8);
  host.kv_placement = KvPlacement::kHost;
  host.kv_offload = 0.5;
  add("f16, all tokens", KvFormat::kF16);
  page.line("");
  head(
      "1,048,576 tokens of Llama-3.1-70B in fp8 on 4 x H100, dry run, a rank; times of the card's "
      "cost model",
      page);
  for (const Case& one : all) far_row({source, device, "dry"}, one, one.request, page);
}

}  // namespace

void far_tables(const Setting& setting, Page& page) {
  on_this_machine(setting, page);
  on_a_virtual_machine(page);
}

}  // namespace vramplan
