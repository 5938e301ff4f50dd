#pragma once
// DryOps: the operations without the arithmetic: counts calls, bytes and flops from the shapes it
// is given and moves a virtual clock by what a device card says they cost.
#include <functional>
#include <optional>

#include "executor/clock.h"
#include "kernels/ops.h"
#include "modelcards/device_card.h"

namespace vramplan {

enum class DryOp : std::uint8_t {
  kEmbed,
  kNorm,
  kLinear,
  kLinearDecode,  // few tokens: the weights set the pace
  kLinearFp8,     // both with inputs rounded to fp8
  kLinearFp8Decode,
  kRope,
  kKvWrite,
  kAttentionPrefill,
  kAttentionDecode,
  kAttentionMassPrefill,
  kAttentionMassDecode,
  kAttentionHistoryPrefill,
  kAttentionHistoryDecode,
  kActivation,
  kAdd,
  kGather,
  kAllReduce,
  kAllGather,
  kSend,
  kSample,
  kSampleBeams,
};

/// What one operation reads and writes, counted from the views it was called with.
struct DryWork {
  DryOp op = DryOp::kLinear;
  DType dtype = DType::kF32;    // of the bytes that dominate: weight, cache or activation
  DType compute = DType::kF32;  // activation format: whose peak the flops run at
  double bytes = 0;
  double flops = 0;        // 2 per multiply-add
  int ranks = 1;           // that take part, for the communicator's
  std::int64_t calls = 1;  // 0: a part of a call that is counted besides
};

struct DryCounts {
  std::int64_t calls = 0;
  double bytes = 0, flops = 0;
};

using DryCost = std::function<Seconds(const DryWork&)>;

/// What the scratch of a GPU's operations depends on besides their shapes.
struct DryGpuRules {
  int multiprocessors = 1;
  DType activations = DType::kBF16;
  std::int64_t most_context = 0;  // longest cache of a sequence that the plan allows
};

class DryOps final : public Ops {
 public:
  /// `kind`, `threads` and `linear_inputs` choose the scratch rules of the device this stands for.
  /// A null `cost` leaves the clock alone.
  DryOps(DeviceKind kind, int threads, DType linear_inputs, VirtualClock& clock, DryCost cost);

  /// Scratch as CudaOps asks for it.
  void use_gpu_rules(const DryGpuRules& rules) { gpu_ = rules; }
  const DryCounts& counts() const { return counts_; }
  void count(const DryWork& work);

  void pack(WeightView& weight) override;
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
  /// One call each on a GPU, as its kernels are; elsewhere the operations they stand for.
  void add_rmsnorm(TensorView out, TensorView x, TensorView p, TensorView weight, float eps,
                   bool one_plus) override;
  void rope_kv_write(TensorView q, TensorView k, TensorView v,
                     std::span<const std::int32_t> positions, const RopeParams& params,
                     const KvLayerView& kv, std::span<const std::int64_t> slots) override;
  void add(TensorView x, TensorView y) override;
  void gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) override;
  void softcap(TensorView x, float cap) override;

  Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features,
                         DType weight) const override;
  Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                            const AttentionParams& params) const override;

 private:
  DeviceKind kind_;
  DType linear_inputs_;
  int threads_;
  VirtualClock& clock_;
  DryCost cost_;
  DryCounts counts_;
  std::optional<DryGpuRules> gpu_;
};

}  // namespace vramplan
