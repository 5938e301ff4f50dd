#pragma once
// CudaOps: the operations as kernels on one stream. Index arrays of a pass are in device memory
// before its operations are called (see CudaPass); a span of a pass is recognised by its address in
// the staging. Nothing is allocated, nothing waits.
#include "executor/gpu_workspace.h"
#include "kernels/cuda/kernel_table.h"
#include "kernels/cuda/runtime.h"

namespace vramplan {

/// A span of slices and what stands for it on the device.
struct CudaGroup {
  const SequenceSlice* slices = nullptr;
  cuda::DeviceSlices device_slices;
};

/// Where the arrays of the running pass are: the same offsets in both memories.
struct CudaPass {
  const std::byte* staged = nullptr;  // pinned host memory, as the transformer sees it
  std::byte* device = nullptr;
  Bytes size;
  std::vector<CudaGroup> groups;  // of layers that keep the same tokens
};

class CudaOps final : public Ops {
 public:
  CudaOps(cuda::Runtime& runtime, const cuda::KernelTable& kernels, cuda::Stream stream,
          int multiprocessors, DType activations)
      : runtime_(runtime),
        kernels_(kernels),
        stream_(stream),
        multiprocessors_(multiprocessors),
        activations_(activations) {}

  /// From now on fp8 weights with at most one scale a row meet inputs rounded to fp8: by the GEMM
  /// library above kGemvTokens tokens, where `library` and it has the shape, else by our kernel.
  void use_fp8_inputs(bool library) {
    linear_inputs_ = DType::kF8E4M3;
    fp8_library_ = library;
  }
  void bind(GpuWorkspace* workspace) { workspace_ = workspace; }
  void begin(CudaPass pass) { pass_ = std::move(pass); }

  void pack(WeightView&) override {}
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
  void add_rmsnorm(TensorView out, TensorView x, TensorView p, TensorView weight, float eps,
                   bool one_plus) override;
  void rope_kv_write(TensorView q, TensorView k, TensorView v,
                     std::span<const std::int32_t> positions, const RopeParams& params,
                     const KvLayerView& kv, std::span<const std::int64_t> slots) override;
  void add(TensorView x, TensorView y) override;
  void gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) override;
  void copy(TensorView out, TensorView x) override;
  void softcap(TensorView x, float cap) override;

  Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features,
                         DType weight) const override;
  Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                            const AttentionParams& params) const override;

 private:
  /// What stands on the device for slices of the running pass.
  const cuda::DeviceSlices& on_device(std::span<const SequenceSlice> slices) const;
  cuda::DeviceRope device_rope(const RopeParams& params) const;
  template <class T>
  const T* on_device(std::span<const T> staged) const;
  void gemm(TensorView out, std::int64_t out_stride, TensorView in, TensorView weight);
  void fp8_linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
                  TensorView workspace);
  void dequantised_gemm(TensorView out, TensorView in, const WeightView& weight,
                        TensorView workspace);

  cuda::Runtime& runtime_;
  const cuda::KernelTable& kernels_;
  cuda::Stream stream_;
  int multiprocessors_;
  DType activations_;
  DType linear_inputs_ = DType::kI8;
  bool fp8_library_ = false;
  GpuWorkspace* workspace_ = nullptr;
  CudaPass pass_;
};

}  // namespace vramplan
