#pragma once
// A small, real-looking plan and measurement: SmolLM2-135M (Q4_1) on a CPU, 512 tokens, and a dry
// run of a large model over eight ranks. Numbers are of the right size; tests change them as they
// need.
#include <fmt/format.h>

#include <cmath>

#include "reports/run_record.h"

namespace vramplan::samples {

inline LedgerRow row(int rank, TierKind tier, Category category, std::string name, Phase phase,
                     std::int64_t bytes, std::string formula) {
  return {rank, tier, category, std::move(name), phase, Bytes{bytes}, std::move(formula)};
}

inline Decisions decisions() {
  Decisions d;
  d.model = "smollm2-135m";
  d.card_hash = 0x1234abcd5678ef09;
  d.device = "this-machine";
  d.activations = DType::kF32;
  d.kv_format = KvFormat::kF16;
  d.block = {16};
  d.kv_blocks = {32};
  d.context = {512};
  d.output = {64};
  d.batch = 1;
  d.prefill_chunk = {256};
  d.threads = 2;
  d.seed = 7;
  d.capacity = {512LL << 20};
  return d;
}

inline void add_cpu_rows(Ledger& ledger, bool observed) {
  const auto why = [&](const char* formula, const char* probe) {
    return std::string(observed ? probe : formula);
  };
  const auto add = [&](Category c, const char* name, Phase phase, std::int64_t bytes,
                       std::string f) {
    ledger.add(row(0, TierKind::kDevice, c, name, phase, bytes, std::move(f)));
  };
  using enum Category;
  add(kWeights, "embedding", Phase::kLoad, 30'081'024,
      why("49152 x 576 x 34 / 32 B", "tensors taken"));
  add(kWeights, "attention", Phase::kLoad, 16'588'800,
      why("30 x (2 x 576 x 576 + 2 x 576 x 192) x 20 / 32 B", "tensors taken"));
  add(kWeights, "feed_forward", Phase::kLoad, 49'766'400,
      why("30 x 3 x 576 x 1536 x 20 / 32 B", "tensors taken"));
  add(kWeights, "norms", Phase::kLoad, 140'544, why("61 x 576 x 4 B", "tensors taken"));
  add(kKvCache, "blocks", Phase::kLoad, 11'796'480,
      why("32 blocks x 368640 B", "blocks taken x bytes"));
  add(kActivations, "peak", Phase::kPrefill, 4'325'376,
      why("256 x (576 + 2 x 1536 + ...) x 4 B", "arena high water"));
  add(kActivations, "peak", Phase::kDecode, 213'504,
      why("1 x (576 + 49152) x 4 B + scratch", "arena high water"));
  add(kRuntime, "arena padding", Phase::kLoad, 15'616, why("sum of round_up(b, 256) - b", "arena"));
  add(kRuntime, "process base", Phase::kLoad, observed ? 11'403'264 : 11'010'048,
      why("measured: this-machine card", "smaps_rollup before load"));
  add(kRuntime, "tokenizer", Phase::kLoad, observed ? 8'126'464 : 8'388'608,
      why("49152 x 96 B + merges", "smaps_rollup delta"));
}

inline std::vector<CurvePoint> cpu_curve() {
  std::vector<CurvePoint> curve{{{0}, Phase::kLoad, {19'398'656}},
                                {{0.28}, Phase::kLoad, {127'787'520}}};
  curve.push_back({{0.28}, Phase::kPrefill, {132'112'896}});
  curve.push_back({{2.61}, Phase::kPrefill, {132'112'896}});
  curve.push_back({{2.61}, Phase::kDecode, {128'001'024}});
  curve.push_back({{3.95}, Phase::kDecode, {128'001'024}});
  return curve;
}

inline Plan cpu_plan() {
  Plan plan;
  plan.decisions = decisions();
  Predictions& p = plan.predictions;
  add_cpu_rows(p.ledger, false);
  const Bytes peak = p.ledger.peak(0, TierKind::kDevice);
  p.devices = {{0, {512LL << 20}, peak, Bytes{512LL << 20} - peak}};
  p.totals = {{134'515'008}, {134'515'008}, {96'576'768}, {23'040}, {11'796'480}};
  p.capacity = {{17'984}, 35, {17'472}, {4'192}};
  p.performance.ttft = {2.33};
  p.performance.tpot = {0.0213};
  p.performance.tokens_per_second = 46.9;
  p.performance.prefill_tokens_per_second = 192.3;
  p.performance.limited_by = "memory bandwidth";
  p.performance.decode_floor = {0.0108};
  p.performance.prefill_terms = {{"linear", {1.92}, "compute"},
                                 {"attention_prefill", {0.33}, "compute"},
                                 {"norm", {0.05}, "memory bandwidth"},
                                 {"rope", {0.03}, "compute"}};
  p.performance.decode_terms = {{"linear", {0.0184}, "memory bandwidth"},
                                {"attention_decode", {0.0019}, "memory bandwidth"},
                                {"norm", {0.0006}, "launch"},
                                {"rope", {0.0004}, "launch"}};
  p.curve = cpu_curve();
  p.fits = true;
  p.binding_constraint = "memory of rank 0: 126.03 MiB of 512.00 MiB at the prefill peak";
  p.advice = {"spare 386 MiB hold 17,472 more tokens of KV cache",
              "f32 KV would take 11.25 MiB more"};
  plan.assumptions = {{"batch", "1 sequence", "--batch"},
                      {"KV format", "f16", "--kv"},
                      {"prefill chunk", "256 tokens", "--prefill-chunk"}};
  return plan;
}

inline Measurement cpu_measurement() {
  Measurement m;
  add_cpu_rows(m.observed, true);
  m.capacity = {{0, {512LL << 20}, {402'653'184}, {132'116'480}, {2'101'248}}};
  const auto sample = [&](double at, Phase phase, std::string moment, std::int64_t taken,
                          std::int64_t resident) {
    m.samples.push_back({{at}, phase, std::move(moment), {taken}, {resident}});
  };
  sample(0, Phase::kLoad, "start", 0, 11'403'264);
  for (int i = 1; i <= 8; ++i) {
    sample(0.05 * i, Phase::kLoad, fmt::format("loading {} %", i * 100 / 8), 12'072'096LL * i,
           12'072'096LL * i + 19'529'728);
  }
  sample(0.42, Phase::kPrefill, "cache reserved", 108'388'864, 128'900'000);
  sample(1.60, Phase::kPrefill, "prefill chunk 1", 112'714'240, 132'900'000);
  sample(2.71, Phase::kPrefill, "prefill chunk 2", 112'714'240, 133'000'000);
  for (int i = 0; i < 64; ++i) {
    sample(2.72 + 0.0221 * i + 0.0004 * std::sin(i), Phase::kDecode,
           fmt::format("decode step {}", i + 1), 108'602'368, 133'100'000);
  }
  m.process_peak = {133'115'904};
  m.timings.load = {0.41};
  m.timings.ttft = {2.30};
  m.timings.prefill = {2.30};
  m.timings.decode = {1.41};
  m.timings.prefill_tokens = 448;
  m.timings.decode_steps = 63;
  m.timings.decode_tokens = 63;
  m.timings.prefill_tokens_per_second = 194.8;
  m.timings.decode_tokens_per_second = 44.7;
  m.timings.tpot = {0.0221};
  for (int i = 0; i < 63; ++i)
    m.timings.decode_step_seconds.push_back(0.0221 + 0.0004 * std::sin(i));
  m.timings.prefill_terms = {{"linear", 1680, {1.90}},
                             {"attention_prefill", 240, {0.30}},
                             {"norm", 488, {0.06}},
                             {"rope", 480, {0.03}},
                             {"between", 2, {0.01}}};
  m.timings.decode_terms = {{"linear", 211, {0.0190}},
                            {"attention_decode", 30, {0.0020}},
                            {"norm", 61, {0.0005}},
                            {"rope", 60, {0.0004}},
                            {"sample", 1, {0.0002}}};
  m.environment = {"host", "Xeon, 2 cores", "6.1.0", "96d36e0", "cpu", "2026-11-20T18:00:00Z", 2};
  m.output = {{504, 1073, 28}};
  m.text = " The answer is";
  m.complete = true;
  return m;
}

inline RunRecord cpu_run() {
  return make_run("smollm2-135m on this-machine", cpu_plan(), cpu_measurement(), {});
}

/// Eight equal ranks on the dry backend; every number of the observation is the predicted one.
inline Plan dry_plan() {
  Plan plan = cpu_plan();
  plan.decisions.model = "llama-3-70b";
  plan.decisions.device = "h100-sxm-80gb";
  plan.decisions.device_count = 8;
  plan.decisions.sharding.tp = 8;
  plan.decisions.capacity = {85'045'870'592};
  Predictions& p = plan.predictions;
  p.ledger = {};
  p.devices.clear();
  using enum Category;
  for (int rank = 0; rank < 8; ++rank) {
    const auto add = [&](Category c, const char* name, Phase phase, std::int64_t bytes) {
      p.ledger.add(row(rank, TierKind::kDevice, c, name, phase, bytes, "from the card"));
    };
    add(kWeights, "embedding", Phase::kLoad, 262'668'288);
    add(kWeights, "attention", Phase::kLoad, 3'019'898'880);
    add(kWeights, "feed_forward", Phase::kLoad, 14'092'861'440);
    add(kKvCache, "blocks", Phase::kLoad, 1'342'177'280);
    add(kActivations, "peak", Phase::kPrefill, 402'653'184);
    add(kActivations, "peak", Phase::kDecode, 1'048'576);
    add(kRuntime, "context", Phase::kLoad, 482'344'960);
    add(kRuntime, "modules", Phase::kLoad, 33'554'432);
    add(kComm, "communicator", Phase::kLoad, 268'435'456);
    const Bytes peak = p.ledger.peak(rank, TierKind::kDevice);
    p.devices.push_back({rank, plan.decisions.capacity, peak, plan.decisions.capacity - peak});
  }
  const auto live = [&](Phase phase) { return p.ledger.live(0, TierKind::kDevice, phase); };
  p.curve = {{{0}, Phase::kLoad, {515'899'392}},
             {{0.28}, Phase::kLoad, live(Phase::kLoad)},
             {{0.28}, Phase::kPrefill, live(Phase::kPrefill)},
             {{2.61}, Phase::kPrefill, live(Phase::kPrefill)},
             {{2.61}, Phase::kDecode, live(Phase::kDecode)},
             {{3.95}, Phase::kDecode, live(Phase::kDecode)}};
  p.binding_constraint = "memory bandwidth of one device: 17.4 GB of weights a step";
  return plan;
}

inline Measurement dry_measurement() {
  Measurement m = cpu_measurement();
  m.observed = dry_plan().predictions.ledger;
  m.environment.backend = "dry";
  m.process_peak = {};
  for (MemorySample& sample : m.samples) {
    sample.resident = {};
    sample.taken = sample.taken * 170;
  }
  m.capacity.clear();
  for (int rank = 0; rank < 8; ++rank) {
    m.capacity.push_back({rank, {85'045'870'592}, {65'541'275'136}, {19'504'595'456}, {0}});
  }
  return m;
}

inline RunRecord dry_run() {
  return make_run("llama-3-70b on 8 x h100-sxm-80gb", dry_plan(), dry_measurement(), {});
}

}  // namespace vramplan::samples
