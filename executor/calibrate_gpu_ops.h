#pragma once
// CalibrateGpuOps: GpuBench times single operations on a GPU as a decode step runs them: captured
// calls, one after another, over memory that is larger than the device's cache. Used by calibration
// and by the recorder under bench/gpu.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "executor/cuda_ops.h"
#include "executor/tier_cuda.h"
#include "planner/latency.h"

namespace vramplan {

struct GpuBenchOptions {
  Bytes pool{std::int64_t{4} << 30};  // weights, caches and tensors rotate through this much
  double point_seconds = 0.004;       // time of a point's captured calls
  std::int64_t most_calls = 200;      // captured for a point
  std::int64_t divisor = 1;           // of shapes, for devices that only pretend to compute
};

/// One operation as it was timed, with the work it did by the planner's convention.
struct GpuPoint {
  OpWork work;
  std::string shape;  // "256 x 4096 x 14336", "32/8 heads x 128, 16 x 4096"
  double seconds = 0;
  double bytes_per_s() const { return seconds > 0 ? work.bytes / seconds : 0; }
  double flops_per_s() const { return seconds > 0 ? work.flops / seconds : 0; }
};

std::string gpu_shape_text(std::int64_t a, std::int64_t b);  // "a x b"

struct AttentionHeads {
  std::int64_t heads = 32, kv_heads = 8, head_dim = 128;
};

class GpuBench {
 public:
  /// `runtime` already uses the device. Errors: kOutOfPlan when the pool does not fit.
  GpuBench(cuda::Runtime& runtime, const cuda::KernelTable& kernels,
           const cuda::DeviceProperties& device, const GpuBenchOptions& options);
  ~GpuBench();
  GpuBench(const GpuBench&) = delete;
  GpuBench& operator=(const GpuBench&) = delete;

  /// Bytes read and written, over the time of copying half the pool to the other half.
  double copy_bytes_per_s();
  /// A matrix of half the pool times one vector: all but nothing is read.
  double read_bytes_per_s();
  /// Pinned memory to the device, or back.
  double bus_bytes_per_s(bool to_device);
  /// From one to the next of small operations inside a graph.
  double launch_seconds();
  /// Loads a small kernel and runs it; what `growth` says then.
  Bytes load_small_kernel(const std::function<Bytes()>& growth);
  /// What `growth` says when a graph of `nodes` of them is made and first launched.
  Bytes graph_bytes(std::int64_t nodes, const std::function<Bytes()>& growth);

  GpuPoint linear(DType weight, std::int64_t tokens, std::int64_t in, std::int64_t out,
                  DType activations);
  /// With inputs rounded to fp8: by the GEMM library above kGemvTokens tokens where it can.
  GpuPoint linear_fp8(DType weight, std::int64_t tokens, std::int64_t in, std::int64_t out);
  bool multiplies_fp8() const;  // the GEMM library, on this device
  /// `mass`: adds up what each block gets.
  GpuPoint attention(DType kv, AttentionHeads heads, std::int64_t queries, std::int64_t kv_length,
                     std::int64_t sequences, bool mass = false);
  /// Over a window of at most kResidualTokens and a history that keeps every stride'th token.
  GpuPoint attention_history(DType format, AttentionHeads heads, std::int64_t queries,
                             std::int64_t kv_length, std::int64_t sequences, std::int64_t stride);
  /// Blocks of the window into the history.
  GpuPoint kv_pack(DType format, AttentionHeads heads, std::int64_t blocks, std::int64_t stride);
  GpuPoint kv_write(DType kv, AttentionHeads heads, std::int64_t tokens);
  GpuPoint norm(std::int64_t tokens, std::int64_t columns);
  GpuPoint rope(std::int64_t tokens, AttentionHeads heads);
  GpuPoint activation(std::int64_t tokens, std::int64_t columns);
  GpuPoint add(std::int64_t tokens, std::int64_t columns);
  GpuPoint embed(DType table, std::int64_t tokens, std::int64_t columns);

  /// Least of three timings of the captured calls call(0), call(1) ..., each a stretch of memory.
  double time(const std::function<void(std::int64_t call)>& call);
  static constexpr DType kActivations = DType::kBF16;
  static constexpr std::int64_t kBlockTokens = 16, kResidualTokens = 128;

 private:
  static constexpr int kLists = 3, kMass = 4;  // slots of tensor()
  void small_kernel();
  void make_weights(DType weight, std::int64_t in, std::int64_t out);
  cuda::DeviceSlices alike(std::size_t& first, const SequenceSlice& slice,
                           std::int64_t block_tokens, std::int64_t sequences);
  void send_lists();
  std::int64_t scaled(std::int64_t n, std::int64_t granule) const;
  /// `count` stretches of `bytes` of the pool's second half, in turn.
  std::byte* stretch(Bytes bytes, std::int64_t call) const;
  /// Tensors of a call in the first half: `slot` times a sixteenth of the pool.
  TensorView tensor(int slot, DType dtype, std::int64_t rows, std::int64_t columns) const;

  cuda::Runtime& runtime_;
  const cuda::KernelTable& kernels_;
  GpuBenchOptions options_;
  int multiprocessors_, compute_capability_;
  cuda::Stream stream_;
  cuda::Event begin_, end_;
  CudaDeviceTier tier_;
  std::unique_ptr<GpuWorkspace> workspace_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<CudaOps> ops_;
  std::unique_ptr<RopeTable> rope_table_;
  TensorView pool_;
  std::vector<std::byte> shadow_;    // the arrays of a pass, at the offsets of the device's
  std::vector<std::int32_t> lists_;  // of slices, or packs, on their way to the device
};

}  // namespace vramplan
