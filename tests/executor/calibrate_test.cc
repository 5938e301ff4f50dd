#include "executor/calibrate.h"

#include <gtest/gtest.h>

#include <map>

#include "planner/latency.h"

namespace vramplan {
namespace {

/// Ops that compute nothing and let a virtual clock run by a known cost line.
class KnownCostOps final : public Ops {
 public:
  explicit KnownCostOps(VirtualClock& clock) : clock_(clock) {}

  static constexpr double kCall = 3e-6, kBytes = 11e9, kFlops = 77e9;
  std::map<std::string, int> calls;

  void spend(const char* op, double bytes, double flops) {
    ++calls[op];
    clock_.advance({kCall + bytes / kBytes + flops / kFlops});
  }
  void spend(const OpWork& work) { spend(name_of(work.op), work.bytes, work.flops); }

  void pack(WeightView&) override { ++calls["pack"]; }
  void embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
             float) override {
    for (const auto id : ids) EXPECT_LT(id, table.tensor.rows);
    spend(embed_work(out.rows, out.columns, table.tensor.dtype, out.dtype));
  }
  void add_rows(TensorView, const WeightView&, std::span<const std::int32_t>) override {}
  void rmsnorm(TensorView out, TensorView, TensorView, float, bool) override {
    spend(norm_work(out.rows, out.columns, out.dtype));
  }
  void layernorm(TensorView, TensorView, TensorView, TensorView, float) override {}
  void linear(TensorView out, TensorView in, const WeightView& weight, TensorView,
              TensorView) override {
    EXPECT_EQ(weight.tensor.columns, in.columns);
    EXPECT_EQ(weight.tensor.rows, out.columns);
    // By hand: 2 flops a multiply-add; the weight once, inputs and outputs in f32.
    const double weight_bytes = static_cast<double>(weight.tensor.bytes().n);
    const double moved = static_cast<double>(4 * in.rows * (in.columns + out.columns));
    const double flops = 2.0 * static_cast<double>(in.rows) * static_cast<double>(in.columns) *
                         static_cast<double>(out.columns);
    last_weight_ = weight.tensor.data;
    spend(in.rows <= 8 ? "linear_decode" : "linear", weight_bytes + moved, flops);
  }
  void rope(TensorView x, std::span<const std::int32_t> positions, const RopeParams&) override {
    EXPECT_EQ(static_cast<std::int64_t>(positions.size()), x.rows);
    spend(rope_work(x.rows, x.columns, x.dtype));
  }
  void kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                std::span<const std::int64_t> slots) override {
    for (const auto slot : slots) EXPECT_LT(slot, kv.block_count * kv.block_tokens);
    spend(kv_write_work(k.rows, k.columns + v.columns, 2 * kv.kv_heads, k.dtype, kv.dtype));
  }
  void attention(TensorView, TensorView q, const KvLayerView& kv,
                 std::span<const SequenceSlice> slices, const AttentionParams& params,
                 TensorView) override {
    if (params.history != nullptr) return over_history(q, kv, slices[0], params);
    AttentionShape shape;
    shape.heads = params.heads;
    shape.kv_heads = kv.kv_heads;
    shape.head_dim = kv.head_dim;
    shape.value_dim = kv.value_dim;
    shape.kv = kv.dtype;
    shape.activation = q.dtype;
    shape.mass = slices[0].block_mass != nullptr;
    OpWork sum = attention_work(shape, slices[0].query_count, slices[0].kv_length);
    sum.bytes *= static_cast<double>(slices.size());
    sum.flops *= static_cast<double>(slices.size());
    for (const auto& slice : slices) {
      for (std::int64_t b = 0; b * kv.block_tokens < slice.kv_length; ++b) {
        EXPECT_LT(slice.block_table[b], kv.block_count);
      }
    }
    spend(sum);
  }
  /// By hand: every query sees the history; K and V of both caches are read once.
  void over_history(const TensorView& q, const KvLayerView& kv, const SequenceSlice& slice,
                    const AttentionParams& params) {
    const SequenceSlice& behind = params.history_slices[0];
    EXPECT_LE(behind.kv_length, params.history->block_count * params.history->block_tokens);
    EXPECT_LE(slice.kv_length, kv.block_count * kv.block_tokens);
    const auto row = [&](DType dtype) {
      return static_cast<double>(2 * kv.kv_heads * kv_row_bytes(dtype, kv.head_dim).n);
    };
    const auto old = static_cast<double>(behind.kv_length), n = static_cast<double>(q.rows),
               recent = static_cast<double>(slice.kv_length);
    const double width = 2.0 * static_cast<double>(params.heads * kv.head_dim);
    spend(q.rows == 1 ? "attention_decode" : "attention_prefill",
          old * row(params.history->dtype) + recent * row(DType::kF16) + n * width * 4,
          2 * width * (n * old + n * (recent - n) + n * (n + 1) / 2));
  }
  void kv_pack(const KvLayerView& history, const KvLayerView& recent, std::span<const KvPack> packs,
               std::int64_t) override {
    for (const KvPack& pack : packs) {
      EXPECT_LE(pack.first_slot + 32, history.block_count * history.block_tokens);
    }
    const double rows = 32.0 * 2 * static_cast<double>(recent.kv_heads);
    spend("kv_write",
          rows * static_cast<double>((kv_row_bytes(DType::kF16, recent.head_dim) +
                                      kv_row_bytes(history.dtype, recent.head_dim))
                                         .n),
          0);
  }
  void gated_activation(TensorView gate, TensorView up, GateKind) override {
    spend(activation_work(gate.rows, gate.columns, up.rows > 0, gate.dtype));
  }
  void add(TensorView x, TensorView) override { spend(add_work(x.rows, x.columns, x.dtype)); }
  void gather_rows(TensorView, TensorView, std::span<const std::int32_t>) override {}
  void softcap(TensorView, float) override {}
  Bytes linear_workspace(std::int64_t, std::int64_t, DType) const override { return {64}; }
  Bytes attention_workspace(std::span<const SequenceSlice>, const KvLayerView&,
                            const AttentionParams&) const override {
    return {64};
  }
  const void* last_weight_ = nullptr;

 private:
  VirtualClock& clock_;
};

MachineFacts small_machine() {
  MachineFacts facts;
  facts.environment.cpu = "Test CPU";
  facts.environment.kernel = "Linux 6.1";
  facts.environment.commit = "abc";
  facts.environment.time_utc = "2026-01-01T00:00:00Z";
  facts.available = Bytes{512} * 1024 * 1024;
  facts.total = facts.available * 2;
  facts.last_level_cache = Bytes{4} * 1024 * 1024;
  facts.cores = 2;
  return facts;
}

/// calibrate() also streams memory with real threads; a virtual clock must move for that.
class TickingClock final : public Clock {
 public:
  explicit TickingClock(const VirtualClock& inner) : inner_(inner) {}
  Seconds now() const override {
    return inner_.now() + Seconds{1e-9 * static_cast<double>(++ticks_)};
  }

 private:
  const VirtualClock& inner_;
  mutable std::int64_t ticks_ = 0;
};

Calibration calibrate_known(bool quick = true, std::map<std::string, int>* calls = nullptr) {
  VirtualClock clock;
  KnownCostOps ops(clock);
  const TickingClock ticking(clock);
  CalibrationRequest request;
  request.threads = 2;
  request.quick = quick;
  request.unrounded = &ops;
  request.process_base = Bytes{12345678};
  request.sample_rows = [&ops](TensorView logits) {
    ops.spend(sample_work(logits.rows, logits.columns));
  };
  request.sample_beams = [&ops](TensorView logits) {
    ops.spend(sample_beams_work(logits.rows, logits.columns));
  };
  Calibration result = calibrate(small_machine(), ops, ticking, request);
  if (calls != nullptr) *calls = ops.calls;
  return result;
}

TEST(Calibrate, FindsTheCostLineOfEveryOperation) {
  const Calibration result = calibrate_known(false);
  std::map<std::string, int> lines;
  for (const auto& op : result.ops) {
    ++lines[op.cost.op];
    // The line may be written with fewer terms where bytes and flops go in step; its seconds not.
    EXPECT_LT(op.fit.worst_error, 0.02) << op.cost.op << " " << op.cost.dtype;
    if (op.cost.op == "linear" || op.cost.op == "linear_decode") {
      EXPECT_NEAR(op.cost.call_s / KnownCostOps::kCall, 1, 0.05) << op.cost.dtype;
      EXPECT_NEAR(op.cost.bytes_per_s / KnownCostOps::kBytes, 1, 0.05) << op.cost.dtype;
      EXPECT_NEAR(op.cost.flops_per_s / KnownCostOps::kFlops, 1, 0.05) << op.cost.dtype;
    }
  }
  // q4_1 q8_0 q4_0 q4_k q6_k f16 bf16 f32 fp8, and fp8, int8 and int4 of checkpoints
  EXPECT_EQ(lines["linear_decode"], 15);
  EXPECT_EQ(lines["linear"], 15);
  EXPECT_EQ(lines["linear_f32_decode"], 5);
  EXPECT_EQ(lines["linear_f32"], 5);
  EXPECT_EQ(lines["attention_decode"], 7);
  EXPECT_EQ(lines["attention_prefill"], 7);
  EXPECT_EQ(lines["attention_history_decode"], 2);  // kivi2 kivi4
  EXPECT_EQ(lines["attention_history_prefill"], 2);
  EXPECT_EQ(lines["kv_write"], 9);  // f16 bf16 f32 fp8 int8 q8_0 q4_0 kivi2 kivi4
  for (const char* op :
       {"norm", "rope", "activation", "add", "embed", "sample", "sample_beams", "between"}) {
    EXPECT_EQ(lines[op], 1) << op;
  }
}

TEST(Calibrate, TheCardPredictsAStepOfThePlannersOperations) {
  const Calibration result = calibrate_known();
  for (const std::int64_t tokens : {1, 7, 300}) {
    const OpWork work = linear_work(tokens, 1024, 640, DType::kQ8_0, DType::kF32);
    const double truth =
        KnownCostOps::kCall + work.bytes / KnownCostOps::kBytes + work.flops / KnownCostOps::kFlops;
    EXPECT_NEAR(op_seconds(result.card, work).v / truth, 1, 0.03) << tokens;
  }
}

TEST(Calibrate, TheCardReadsBackFromItsYaml) {
  const Calibration result = calibrate_known();
  const DeviceCard back = parse_device_card(write_device_card(result.card), "card.yaml");
  EXPECT_EQ(back.name, "this-machine");
  EXPECT_EQ(back.kind, DeviceKind::kCpu);
  EXPECT_EQ(back.process_base_bytes.value, 12345678);
  EXPECT_EQ(back.capacity_bytes.value, small_machine().available.n);
  EXPECT_EQ(back.capacity_bytes.evidence, Evidence::kMeasured);
  ASSERT_EQ(back.op_costs.size(), result.card.op_costs.size());
  EXPECT_EQ(back.op_costs[0].bytes_per_s, result.card.op_costs[0].bytes_per_s);
  for (const char* word : {"abc", "2026-01-01", "Test CPU", "2 threads"}) {
    EXPECT_NE(back.launch_s.source.find(word), std::string::npos) << word;
  }
}

TEST(Calibrate, PacksAWeightOfEveryShapeBeforeItIsTimed) {
  std::map<std::string, int> calls;
  calibrate_known(true, &calls);
  // Six shapes in nine formats, four in eleven; the pool of this small machine does not hold the
  // head in f32. One more for what computes beside copies.
  EXPECT_EQ(calls["pack"], 9 * 6 + 11 * 4 - 1 + 1);
}

TEST(Calibrate, AnInterruptedCalibrationStops) {
  VirtualClock clock;
  KnownCostOps ops(clock);
  CalibrationEffort effort;
  effort.pool = Bytes{16} * 1024 * 1024;
  effort.quick = true;
  const CalibrationProgress stop = [](const std::string&, double fraction) {
    if (fraction > 0.1) throw std::runtime_error("stop");
  };
  EXPECT_THROW(calibrate_ops(ops, clock, effort, {}, stop), std::runtime_error);
}

TEST(Calibrate, MachineFactsAreThere) {
  const MachineFacts facts = machine_facts();
  EXPECT_GE(facts.cores, 1);
  EXPECT_GT(facts.available.n, 0);
  EXPECT_GE(facts.total, facts.available);
  EXPECT_FALSE(facts.environment.time_utc.empty());
}

TEST(StreamingBytes, IsTheRateOfTheMiddleRepetition) {
  const SteadyClock clock;
  EXPECT_GT(streaming_bytes_per_s(Bytes{1 << 22}, 2, clock, 3), 0);
}

}  // namespace
}  // namespace vramplan
