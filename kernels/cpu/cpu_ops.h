#pragma once
// The operations of kernels/ops.h on the CPU: activations f32, weights f32, f16, bf16 or
// block-quantised, KV cache f32, f16 or bf16. Every call returns when its result is there.
#include <memory>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "kernels/ops.h"

namespace vramplan {

/// threads >= 1, the calling thread included. `linear_inputs`: how products with block-quantised
/// weights read their input: i8 rounds 32 elements at a time to 8-bit codes (fast), f32 takes it as
/// it is (the sums of the dequantised matrix; slow, for exactness); f8_e4m3 rounds a row to fp8
/// where the weights are fp8 with at most one scale a row (has_fp8_rows), and is i8 elsewhere.
/// Beside the workspace an Ops keeps kScratchBytes a thread, and touches only what its operations
/// use. One caller at a time. Errors: kUsage for a bad thread count or input format; operations
/// throw kUnsupported for a format they do not read, and stop the program when shapes contradict
/// each other.
std::unique_ptr<Ops> make_cpu_ops(int threads, DType linear_inputs = DType::kI8);

namespace cpu {

/// Fixed scratch of a thread: tiles of the attention, angles of the rotation.
inline constexpr std::int64_t kScratchBytes = 240 * 1024;

/// WeightView::packing of a weight whose rows were interleaved by 16 (see quant_pack.h).
inline constexpr int kInterleaved16 = 1;

struct AttentionCall;

class CpuOps final : public Ops {
 public:
  CpuOps(int threads, DType linear_inputs);

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
  void add(TensorView x, TensorView y) override;
  void gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) override;
  void softcap(TensorView x, float cap) override;

  Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features,
                         DType weight) const override;
  Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                            const AttentionParams& params) const override;

 private:
  struct Free {
    void operator()(void* p) const;
  };
  /// Scratch of thread `thread`: kScratchBytes, 64-byte aligned.
  float* scratch(int thread) { return scratch_.get() + thread * (kScratchBytes / 4); }

  void linear_quantised(TensorView out, TensorView in, const WeightView& weight, const float* bias,
                        TensorView workspace);
  /// `in` rounded to fp8, row by row, at the head of the workspace, which ends up without it.
  TensorView round_to_fp8(TensorView in, DType weight, TensorView& workspace);
  /// The same with the input unrounded, over rows dequantised a few at a time.
  void linear_dequantised(TensorView out, TensorView in, const WeightView& weight,
                          const float* bias, TensorView workspace);
  void linear_dense(TensorView out, TensorView in, const WeightView& weight, const float* bias);
  /// The slices in single_query_, split over KV heads and ranges of keys.
  void attention_single_queries(const AttentionCall& call, std::span<const SequenceSlice> slices,
                                float* workspace);
  /// A few queries of one slice, split over ranges of keys.
  void attention_few_queries(const AttentionCall& call, const SequenceSlice& slice);
  /// Single queries where the call has a history.
  void attention_over_history(const AttentionCall& call, std::span<const SequenceSlice> slices,
                              float* workspace);
  /// Calls body(first, last) for parts of `rows` rows, several at a time when they are worth it.
  template <class Body>
  void for_rows(std::int64_t rows, std::int64_t row_elements, const Body& body);

  ThreadPool pool_;
  DType linear_inputs_;
  std::unique_ptr<float, Free> scratch_;
  std::vector<std::int32_t> single_query_;  // slices of one query; kept for its capacity
  std::vector<float*> part_scratch_;        // of each part of a few queries; likewise
};

// A region costs about a microsecond; fewer elements than this are not worth one.
inline constexpr std::int64_t kElementsPerChunk = 8192;

template <class Body>
void CpuOps::for_rows(std::int64_t rows, std::int64_t row_elements, const Body& body) {
  const std::int64_t chunk = kElementsPerChunk / (row_elements > 0 ? row_elements : 1) + 1;
  pool_.parallel_for(rows, chunk,
                     [&](std::int64_t first, std::int64_t last, int) { body(first, last); });
}

inline float* f32_data(const TensorView& view) {
  VRAMPLAN_CHECK(view.dtype == DType::kF32);
  return static_cast<float*>(view.data);
}

}  // namespace cpu
}  // namespace vramplan
