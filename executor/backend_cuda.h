#pragma once
// CudaBackend: one GPU behind the seam of kernels/cuda/runtime.h and a table of kernels, so that
// the whole engine also runs on a fake runtime. Decode steps are captured once per padded number of
// rows and replayed as a graph. Two engines, a model and its draft, may take turns.
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "executor/backend.h"
#include "executor/cuda_ops.h"
#include "executor/cuda_side_copies.h"
#include "executor/cuda_upload.h"
#include "executor/tier_cuda.h"

namespace vramplan {

struct CudaOptions {
  int device = 0;
  DType activations = DType::kBF16;
  DType linear_inputs = DType::kI8;  // fp8: of products with fp8 weights, see CudaOps
  bool graphs = true;                // decode steps are captured and replayed
  bool naive = false;                // attention by all scores: its scratch grows with the cache
  bool by_layer = false;             // a prompt's pass comes in parts: see stage_part
  bool random_on_host = false;       // the values every other backend makes, not the device's own
};

class CudaBackend final : public Backend {
 public:
  /// `runtime` already uses the device. Errors: kUnsupported without a GEMM library.
  CudaBackend(cuda::Runtime& runtime, const cuda::KernelTable& kernels, const CudaOptions& options,
              Bytes capacity);
  ~CudaBackend() override;

  const char* name() const override { return "cuda"; }
  Ops& ops() override { return ops_; }
  Tier& tier(TierKind kind) override;
  Clock& clock() override { return clock_; }
  /// Also tells what blocks got in the pass: SequenceSlice::block_mass.
  void synchronize() override;
  cuda::Stream stream() const { return stream_.value; }
  bool computes() const override { return true; }
  const GpuFacts* gpu() const override { return &facts_; }
  void reserve_all(Bytes size) override { device_.reserve_all(size); }
  void bind(GpuWorkspace* workspace) override;
  std::int64_t step_rows(std::int64_t rows) const override;
  TensorView run_pass(const PassInput& pass, Arena& activations,
                      const ForwardPass& forward) override;
  std::vector<std::int32_t> sample(const SampleRequest& request) override;
  WeightUpload* upload() override { return &upload_; }
  void copy(std::byte* to, const std::byte* from, Bytes size) override {
    runtime_.copy(stream_.value, to, from, size, cuda::CopyKind::kOnDevice);
  }
  void read(void* to, const void* from, Bytes size) override;
  void swap(void* to, const void* from, Bytes size, HostCopy way) override {
    runtime_.copy(stream_.value, to, from, size, copy_kind(way));
  }
  SideCopies* side_copies() override { return &side_; }
  PassInput stage_part(const PassInput& part) override { return stage(part); }

  void take_upload_buffers() { upload_.take_buffers(); }
  /// Pinned memory of two slots of a pass's arrays and of the buffers of weights.
  Bytes staging_bytes() const;
  std::int64_t graph_count() const { return static_cast<std::int64_t>(graphs_.size()); }
  std::int64_t graph_nodes() const;

  static constexpr std::size_t kSlots = 2;  // one is filled while the other is on its way

 private:
  struct CapturedPass {
    cuda::Graph graph;
    TensorView logits;
  };
  /// Pinned memory of one pass's arrays, free again once `sent` is reached.
  struct Slot {
    Region memory;
    cuda::Event sent;
    std::vector<std::vector<SequenceSlice>> slices;  // of each group
    // The staged pass.
    std::span<const std::int32_t> ids, positions, logit_rows;
    std::vector<GroupInput> groups;
    bool in_flight = false;
  };
  /// Where `array` of the device lies in the staging.
  template <class T>
  T* staged(const Slot& slot, const TensorView& array) const;
  void drop_pass_state() noexcept;
  /// The values in their place in the staging.
  template <class T>
  std::span<const T> put(const Slot& slot, const TensorView& array,
                         std::span<const T> values) const;
  PassInput stage(const PassInput& pass);
  void fill(Slot& slot, const PassInput& pass) const;
  void fill_group(Slot& slot, const GroupInput& input, std::size_t group) const;
  cuda::DeviceSlices on_device(const Slot& slot, std::size_t group, const PassInput& pass) const;
  TensorView run_staged(const PassInput& pass, const PassInput& staged, Arena& activations,
                        const ForwardPass& forward);
  void fetch_mass();
  void take_mass();
  /// Steps are alike that have as many rows and the same engine, which its activations stand for.
  using StepKind = std::pair<const Arena*, std::int64_t>;
  TensorView captured(const StepKind& kind, const PassInput& staged, const ForwardPass& forward);

  cuda::Runtime& runtime_;
  const cuda::KernelTable& kernels_;
  CudaOptions options_;
  SteadyClock clock_;
  GpuFacts facts_;
  CudaDeviceTier device_;
  CudaHostTier host_;
  CudaStream stream_;
  CudaSideCopies side_;
  CudaOps ops_;
  CudaUpload upload_;
  GpuWorkspace* workspace_ = nullptr;
  std::vector<Slot> slots_;
  std::size_t slot_ = 0;  // of the running pass
  bool mass_on_its_way_ = false;
  std::set<StepKind> warm_;  // ran once without a graph
  std::map<StepKind, CapturedPass> graphs_;
};

}  // namespace vramplan
