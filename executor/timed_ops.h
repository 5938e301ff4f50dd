#pragma once
// TimedOps: the operations of another Ops with a clock beside each call. For an Ops whose calls
// return when they are done (cpu); two looks at the clock a call, some 50 ns.
#include <map>
#include <string>

#include "executor/clock.h"
#include "executor/trace.h"
#include "kernels/ops.h"

namespace vramplan {

/// What one operation took, all its calls together. Named as the planner names its time terms:
/// "linear q4_1", "norm", "attention_decode" ...
struct OpTiming {
  std::int64_t calls = 0;
  double seconds = 0;
};
using OpTimings = std::map<std::string, OpTiming>;

class TimedOps final : public Ops {
 public:
  TimedOps(Ops& ops, const Clock& clock) : ops_(ops), clock_(clock) {}

  /// Every call is also added to `trace`; null = to none.
  void trace_to(Trace* trace) { trace_ = trace; }
  /// What was timed since the last take.
  OpTimings take();

  void pack(WeightView& weight) override { ops_.pack(weight); }  // load time, not timed
  void embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
             float scale) override;
  void add_rows(TensorView out, const WeightView& table,
                std::span<const std::int32_t> positions) override;
  void rmsnorm(TensorView out, TensorView x, TensorView weight, float eps, bool one_plus) override;
  void layernorm(TensorView out, TensorView x, TensorView weight, TensorView bias,
                 float eps) override;
  void linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
              TensorView workspace) override;
  void rope(TensorView x, std::span<const std::int32_t> positions,
            const RopeParams& params) override;
  void kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                std::span<const std::int64_t> slots) override;
  void kv_pack(const KvLayerView& history, const KvLayerView& recent, std::span<const KvPack> packs,
               std::int64_t stride) override;
  void attention(TensorView out, TensorView q, const KvLayerView& kv,
                 std::span<const SequenceSlice> slices, const AttentionParams& params,
                 TensorView workspace) override;
  void gated_activation(TensorView gate, TensorView up, GateKind kind) override;
  void add(TensorView x, TensorView y) override;
  void gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) override;
  void softcap(TensorView x, float cap) override;

  Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features,
                         DType weight) const override {
    return ops_.linear_workspace(tokens, in_features, weight);
  }
  Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                            const AttentionParams& params) const override {
    return ops_.attention_workspace(slices, kv, params);
  }

 private:
  enum Kind {
    kEmbed,
    kNorm,
    kRope,
    kKvWrite,
    kPrefill,
    kDecode,
    kMassPrefill,
    kMassDecode,
    kHistoryPrefill,
    kHistoryDecode,
    kActivation,
    kAdd,
    kGather,
    kKinds
  };
  template <class Call>
  void timed(OpTiming& timing, const char* name, const Call& call);
  template <class Call>
  void timed(Kind kind, const Call& call);

  Ops& ops_;
  const Clock& clock_;
  Trace* trace_ = nullptr;
  OpTiming kinds_[kKinds];
  OpTiming linears_[256];  // by dtype
};

}  // namespace vramplan
