// Formats and policies of the KV cache: what they hold, and what a text loses.
//
// Quality is that of the text prefilled in chunks of 128 tokens, against the f16 cache that keeps
// everything: what a chunk sees of the chunks before it, it sees through the cache.
#include "bench/techniques/page.h"
#include "bench/techniques/study_tables.h"
#include "executor/quality.h"
#include "modelcards/library.h"

namespace vramplan {
namespace {

struct Technique {
  const char* name;
  PlanRequest request;
};

std::vector<Technique> techniques() {
  std::vector<Technique> all;
  const auto add = [&](const char* name, KvFormat format = KvFormat::kF16) -> PlanRequest& {
    all.push_back({name, base_request()});
    all.back().request.kv_format = format;
    return all.back().request;
  };
  add("f16, all tokens");
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16, KvFormat::kFp8, KvFormat::kInt8,
                                KvFormat::kQ8_0, KvFormat::kQ4_0}) {
    add(name_of(format), format);
  }
  add("contiguous").kv_layout = KvLayout::kContiguous;
  const auto keep = [&](const char* name, std::int64_t sinks, std::int64_t window,
                        KvFormat format) {
    PlanRequest& request = add(name, format);
    request.kv_policy = KvPolicy::kSinkWindow;
    request.kv_sinks = Tokens{sinks};
    request.kv_window = Tokens{window};
  };
  keep("4 sinks, window 512", 4, 512, KvFormat::kF16);
  keep("4 sinks, window 128", 4, 128, KvFormat::kF16);
  keep("4 sinks, window 128, int8", 4, 128, KvFormat::kInt8);
  add("a fifth by attention").kv_policy = KvPolicy::kMass;
  PlanRequest& decayed = add("a fifth by attention, decayed");
  decayed.kv_policy = KvPolicy::kMass;
  decayed.kv_score = KvScore::kDecayed;
  keep("no sinks, window 132", 0, 132, KvFormat::kF16);
  for (const KvFormat format : {KvFormat::kKivi4, KvFormat::kKivi2}) {
    add(name_of(format), format).prefill_chunk = Tokens{96};
  }
  for (const auto& [name, format] : {std::pair{"1 in 4 tokens before 512, fp8", KvFormat::kFp8},
                                     std::pair{"1 in 4 tokens before 512, int8", KvFormat::kInt8},
                                     std::pair{"1 in 4 tokens before 512, f16", KvFormat::kF16}}) {
    add(name, format).kv_policy = KvPolicy::kStrided;
  }
  return all;
}

std::vector<float> logits_of(const Setting& setting, Decisions decisions) {
  decisions.linear_inputs = DType::kF32;  // no rounding but the cache's
  const auto backend =
      make_cpu_backend(decisions.threads, decisions.capacity, decisions.linear_inputs);
  return prompt_logits(decisions, setting.source, *backend, setting.ids, false);
}

/// 8192 tokens in the cache when the last one is made: bytes only, so weights are random.
PlannedRun long_run(const char* model, const char* layers, const char* device,
                    PlanRequest request) {
  request.model = model;
  request.device = device;
  request.context = Tokens{8193};
  request.output = Tokens{3};
  request.batch = 1;
  if (layers != nullptr) request.set = {layers};
  const bool cpu = layers != nullptr;
  if (cpu) request.threads = 2;
  const ModelSource source = shape_of(model, request.set);
  const DeviceCard card = device_card(device);
  PlannedRun result;
  result.plan = make_plan(source, card, request);
  RunRequest run;
  run.random_weights = true;
  result.measurement = run_plan(result.plan.decisions, source, card, cpu ? "cpu" : "dry", run);
  return result;
}

std::vector<Technique> long_techniques() {
  std::vector<Technique> all;
  const auto add = [&](const char* name, KvFormat format, bool strided, bool host) {
    PlanRequest request;
    request.kv_format = format;
    if (strided) request.kv_policy = KvPolicy::kStrided;
    if (host) request.kv_placement = KvPlacement::kHost;
    if (host) request.kv_offload = 0.8;
    all.push_back({name, request});
  };
  add("f16", KvFormat::kF16, false, false);
  add("fp8", KvFormat::kFp8, false, false);
  add("int8", KvFormat::kInt8, false, false);
  add("kivi4", KvFormat::kKivi4, false, false);
  add("kivi2", KvFormat::kKivi2, false, false);
  add("1 in 4 before 512, fp8", KvFormat::kFp8, true, false);
  add("f16, 80 % to the host", KvFormat::kF16, false, true);
  add("int8, 80 % to the host", KvFormat::kInt8, false, true);
  add("kivi2, 80 % to the host", KvFormat::kKivi2, false, true);
  return all;
}

}  // namespace

void cache_tables(const Setting& setting, Page& page) {
  quality_head(page, "KV cache", "f16");
  std::vector<float> base;
  Bytes full;
  for (const Technique& technique : techniques()) {
    const PlannedRun r = setting.run_of(technique.request, {setting.ids}, 33);
    const std::vector<float> logits = logits_of(setting, r.plan.decisions);
    if (base.empty()) base = logits;
    if (full == Bytes{}) full = r.observed();
    const TextQuality q = compare(logits, base, setting.ids);
    quality_row(page, {technique.name, r.predicted(), r.observed(), full,
                       r.plan.predictions.performance.tpot, r.measurement.timings.tpot, q});
  }
}

void long_tables(const Setting&, Page& page) {
  page.line("| 8192 tokens of | KV cache | device bytes predicted | observed | times smaller | |");
  page.line("|---|---|---|---|---|---|");
  const auto rows = [&](const char* name, const char* model, const char* layers,
                        const char* device) {
    double full = 0;
    for (const Technique& technique : long_techniques()) {
      const PlannedRun r = long_run(model, layers, device, technique.request);
      const auto kept = static_cast<double>(r.observed().n);
      if (full == 0) full = kept;
      page.line("| {} | {} | {} | {} | {:.2f} | {:+.1f} % |", name, technique.name, r.predicted().n,
                r.observed().n, full / kept, 100 * (kept / full - 1));
      Page::did(std::string(name) + " " + technique.name);
    }
  };
  rows("five layers of SmolLM2-135M, run on the cpu", "smollm2-135m", "layer_count=5",
       "cpu-generic");
  rows("Llama-2-7B, dry run", "llama-2-7b", nullptr, "h200-sxm-141gb");
}

}  // namespace vramplan
