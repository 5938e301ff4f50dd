#pragma once
// AttentionLog: the CPU's operations, with what attention gave in each call kept.
#include <memory>
#include <vector>

#include "executor/backend.h"
#include "kernels/cpu/cpu_ops.h"

namespace vramplan {

class AttentionLog final : public Ops {
 public:
  explicit AttentionLog(int threads) : ops_(make_cpu_ops(threads)) {}
  /// [call][tokens x heads x value_dim]
  const std::vector<std::vector<float>>& outputs() const { return outputs_; }

  void attention(TensorView out, TensorView q, const KvLayerView& kv,
                 std::span<const SequenceSlice> slices, const AttentionParams& params,
                 TensorView workspace) override {
    ops_->attention(out, q, kv, slices, params, workspace);
    const auto* const data = static_cast<const float*>(out.data);
    outputs_.emplace_back(data, data + out.rows * out.columns);
  }

  void pack(WeightView& weight) override { ops_->pack(weight); }
  void embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
             float scale) override {
    ops_->embed(out, table, ids, scale);
  }
  void add_rows(TensorView out, const WeightView& table,
                std::span<const std::int32_t> positions) override {
    ops_->add_rows(out, table, positions);
  }
  void rmsnorm(TensorView out, TensorView x, TensorView weight, float eps, bool one) override {
    ops_->rmsnorm(out, x, weight, eps, one);
  }
  void layernorm(TensorView out, TensorView x, TensorView weight, TensorView bias,
                 float eps) override {
    ops_->layernorm(out, x, weight, bias, eps);
  }
  void linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
              TensorView workspace) override {
    ops_->linear(out, in, weight, bias, workspace);
  }
  void rope(TensorView x, std::span<const std::int32_t> positions,
            const RopeParams& params) override {
    ops_->rope(x, positions, params);
  }
  void kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                std::span<const std::int64_t> slots) override {
    ops_->kv_write(kv, k, v, slots);
  }
  void kv_pack(const KvLayerView& history, const KvLayerView& recent, std::span<const KvPack> packs,
               std::int64_t stride) override {
    ops_->kv_pack(history, recent, packs, stride);
  }
  void gated_activation(TensorView gate, TensorView up, GateKind kind) override {
    ops_->gated_activation(gate, up, kind);
  }
  void add(TensorView x, TensorView y) override { ops_->add(x, y); }
  void gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) override {
    ops_->gather_rows(out, x, rows);
  }
  void softcap(TensorView x, float cap) override { ops_->softcap(x, cap); }
  Bytes linear_workspace(std::int64_t tokens, std::int64_t in, DType weight) const override {
    return ops_->linear_workspace(tokens, in, weight);
  }
  Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                            const AttentionParams& params) const override {
    return ops_->attention_workspace(slices, kv, params);
  }

 private:
  std::unique_ptr<Ops> ops_;
  std::vector<std::vector<float>> outputs_;
};

class LoggingBackend final : public Backend {
 public:
  explicit LoggingBackend(int threads)
      : ops_(threads), device_(make_host_tier(TierKind::kDevice, Bytes{std::int64_t{1} << 40})) {}
  const char* name() const override { return "log"; }
  AttentionLog& ops() override { return ops_; }
  Tier& tier(TierKind) override { return *device_; }
  Clock& clock() override { return clock_; }
  void synchronize() override {}
  bool computes() const override { return true; }

 private:
  AttentionLog ops_;
  SteadyClock clock_;
  std::unique_ptr<Tier> device_;
};

}  // namespace vramplan
