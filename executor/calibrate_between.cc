#include "executor/calibrate_between.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "executor/backend.h"
#include "executor/communicator.h"
#include "executor/cost_fit.h"
#include "executor/need.h"
#include "executor/rank_run.h"

namespace vramplan {
namespace {

constexpr std::int64_t kLayers = 16, kPrompt = 32, kSteps = 16;
constexpr std::size_t kRead = 256 * 1024;  // of an operation: a matrix of a small model

/// Operations that compute nothing and leave the caches full of other bytes.
class IdleOps final : public Ops {
 public:
  IdleOps(const Ops& ops, std::span<const std::byte> memory) : ops_(ops), memory_(memory) {}

  void pack(WeightView&) override {}
  void embed(TensorView, const WeightView&, std::span<const std::int32_t>, float) override {
    pass_by();
  }
  void add_rows(TensorView, const WeightView&, std::span<const std::int32_t>) override {
    pass_by();
  }
  void rmsnorm(TensorView, TensorView, TensorView, float, bool) override { pass_by(); }
  void layernorm(TensorView, TensorView, TensorView, TensorView, float) override { pass_by(); }
  void linear(TensorView, TensorView, const WeightView&, TensorView, TensorView) override {
    pass_by();
  }
  void rope(TensorView, std::span<const std::int32_t>, const RopeParams&) override { pass_by(); }
  void kv_write(const KvLayerView&, TensorView, TensorView,
                std::span<const std::int64_t>) override {
    pass_by();
  }
  void kv_pack(const KvLayerView&, const KvLayerView&, std::span<const KvPack>,
               std::int64_t) override {
    pass_by();
  }
  void attention(TensorView, TensorView, const KvLayerView&, std::span<const SequenceSlice>,
                 const AttentionParams&, TensorView) override {
    pass_by();
  }
  void gated_activation(TensorView, TensorView, GateKind) override { pass_by(); }
  void add(TensorView, TensorView) override { pass_by(); }
  void gather_rows(TensorView, TensorView, std::span<const std::int32_t>) override { pass_by(); }
  void softcap(TensorView, float) override { pass_by(); }
  Bytes linear_workspace(std::int64_t tokens, std::int64_t in, DType weight) const override {
    return ops_.linear_workspace(tokens, in, weight);
  }
  Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                            const AttentionParams& params) const override {
    return ops_.attention_workspace(slices, kv, params);
  }

 private:
  void pass_by() {
    if (memory_.size() < kRead) return;
    if (at_ + kRead > memory_.size()) at_ = 0;
    std::uint64_t sum = 0;
    for (std::size_t i = at_; i < at_ + kRead; i += 64) {
      std::uint64_t word = 0;
      std::memcpy(&word, memory_.data() + i, sizeof word);
      sum += word;
    }
    at_ += kRead;
    seen_.store(sum, std::memory_order_relaxed);  // keeps the reads from being left out
  }

  const Ops& ops_;
  std::span<const std::byte> memory_;
  std::size_t at_ = 0;
  std::atomic<std::uint64_t> seen_{0};
};

/// The clock of somebody else.
class GivenClock final : public Clock {
 public:
  explicit GivenClock(const Clock& clock) : clock_(clock) {}
  Seconds now() const override { return clock_.now(); }

 private:
  const Clock& clock_;
};

/// Memory that does not exist, real passes, a real clock.
class IdleBackend final : public Backend {
 public:
  IdleBackend(const Ops& ops, const Clock& clock, std::span<const std::byte> memory)
      : clock_(clock),
        ops_(ops, memory),
        timed_(ops_, clock_),
        device_(make_dry_tier(TierKind::kDevice, Bytes{std::int64_t{1} << 40})) {}
  const char* name() const override { return "idle"; }
  Ops& ops() override { return timed_; }
  Tier& tier(TierKind) override { return *device_; }
  Clock& clock() override { return clock_; }
  void synchronize() override {}
  bool computes() const override { return false; }
  OpTimings take_timings() override { return timed_.take(); }

 private:
  GivenClock clock_;
  IdleOps ops_;
  TimedOps timed_;
  std::unique_ptr<Tier> device_;
};

ModelSource idle_model() {
  ModelSource source;
  source.card.name = "idle";
  source.card.family = "llama";
  source.card.hidden = 256;
  source.card.vocab = 512;
  source.card.context_limit = 1024;
  source.card.stored_weights = DType::kQ8_0;
  Layer layer;
  layer.mixer.heads = 8;
  layer.mixer.kv_heads = 2;
  layer.mixer.head_dim = layer.mixer.value_dim = 32;
  layer.mixer.rope.rotary_dim = 32;
  layer.feed_forward.intermediate = 512;
  source.card.layers.assign(kLayers, layer);
  return source;
}

Decisions idle_decisions(const ModelSource& source) {
  Decisions d;
  d.model = source.card.name;
  d.card_hash = card_hash(source.card);
  d.kv_format = KvFormat::kF16;
  d.activations = DType::kF32;
  d.output = Tokens{kSteps + 1};
  d.context = Tokens{kPrompt + kSteps + 1};
  d.prefill_chunk = Tokens{kPrompt};
  d.kv_blocks = blocks_for(d.context, d.block);
  d.capacity = Bytes{std::int64_t{1} << 40};
  return d;
}

}  // namespace

double measure_between(const Ops& ops, const Clock& clock, std::span<const std::byte> memory,
                       int rounds) {
  IdleBackend backend(ops, clock, memory);
  const ModelSource source = idle_model();
  const Decisions decisions = idle_decisions(source);
  const ModelPart part = model_part(source.card, decisions.sharding, 0);
  const auto prompts = prompts_of(decisions, source.card.vocab, {});
  DeviceCard card;
  card.kind = DeviceKind::kCpu;
  const RankNeed need = measure_need(decisions, source, card, part, {kPrompt}, false, nullptr);
  SingleCommunicator alone, alone_too;
  RankEngine engine({backend, alone, alone_too}, decisions, source, part, need.sizes);
  engine.load({});
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    Scheduler scheduler(engine.kv(), prompts, scheduler_options(decisions, {}));
    const RankRun run = run_passes(engine, scheduler, {});
    double between = 0, calls = 0;
    for (const ObservedTerm& term : terms_of(run, Phase::kDecode, 1)) {
      if (term.op == "between") between = term.seconds.v;
      if (term.op != "between" && term.op != "sample") calls += term.calls;
    }
    if (calls > 0) seconds.push_back(between / calls);
  }
  return seconds.empty() ? 0 : std::max(0.0, median_of(std::move(seconds)));
}

}  // namespace vramplan
