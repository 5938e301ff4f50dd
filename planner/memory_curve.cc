#include "planner/memory_curve.h"

#include <algorithm>

#include "planner/activations.h"
#include "planner/speculation.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostPoints = 16;  // of prefill, and of decode

Seconds load_seconds(const StageAccount& stage, const DeviceCard& device) {
  double slowest = 0;
  for (const Link& link : device.links) {
    const bool on_path = link.kind == LinkKind::kNvme ||
                         (link.kind == LinkKind::kPcie && device.kind == DeviceKind::kGpu);
    const double rate = link.bytes_per_s.value;
    if (on_path && rate > 0 && (slowest == 0 || rate < slowest)) slowest = rate;
  }
  return slowest > 0 ? stage.weights / BytesPerSecond{slowest} : Seconds{};
}

}  // namespace

std::vector<CurvePoint> memory_curve(const StageAccount& stage, const Decisions& decisions,
                                     const DeviceCard& device, const Performance& performance) {
  const Bytes shaped = shaped_bytes(stage, decisions, device.kind);
  const Bytes fixed = stage.weights + stage.padding + stage.runtime + shaped;
  const ScratchRules rules = rules_of(stage, decisions, device.kind);
  Bytes prefill = prefill_peak(stage.model, decisions, rules) * decisions.replicas;
  Bytes decode = decode_peak(stage.model, decisions, rules) * decisions.replicas;
  if (stage.draft) {
    prefill += draft_peak(*stage.draft, decisions, rules, Phase::kPrefill);
    decode += draft_peak(*stage.draft, decisions, rules, Phase::kDecode);
  }
  const Tokens prompt = decisions.context - decisions.output;
  const auto cache = [&](std::int64_t sequences, std::int64_t tokens) {
    return kv_bytes(stage, with_context(with_batch(decisions, sequences), Tokens{tokens}));
  };
  std::vector<CurvePoint> curve{{{}, Phase::kLoad, stage.runtime + shaped}};
  Seconds now = load_seconds(stage, device);
  curve.push_back({now, Phase::kLoad, fixed});
  const std::int64_t prefills = std::min(decisions.batch, kMostPoints);
  const Seconds each =
      performance.ttft * (static_cast<double>(decisions.batch) / static_cast<double>(prefills));
  for (std::int64_t i = 1; i <= prefills; ++i) {
    // Sequences whose prompts are in the cache at the end of this stretch, the running one
    // included.
    const std::int64_t sequences = decisions.batch * i / prefills;
    curve.push_back({now, Phase::kPrefill, fixed + cache(sequences, prompt.n + 1) + prefill});
    now += each;
    curve.push_back({now, Phase::kPrefill, fixed + cache(sequences, prompt.n + 1) + prefill});
  }
  const std::int64_t steps = decisions.output.n - 1;
  const std::int64_t stretches = std::min(steps, kMostPoints);
  for (std::int64_t i = 0; i <= stretches && steps > 0; ++i) {
    // Step s takes the slot of token prompt + 1 + s; the last fills the context.
    const double share = static_cast<double>(i) / static_cast<double>(stretches);
    const std::int64_t done =
        i == stretches ? steps : static_cast<std::int64_t>(static_cast<double>(steps) * share);
    const std::int64_t tokens = prompt.n + 1 + std::max<std::int64_t>(done, 1);
    curve.push_back({now + performance.tpot * static_cast<double>(done), Phase::kDecode,
                     fixed + cache(decisions.batch, tokens) + decode});
  }
  return curve;
}

}  // namespace vramplan
