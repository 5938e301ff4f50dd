#pragma once
// The CUDA kernels' host entry points: one function a kernel family. Each checks its shapes, picks
// a launch shape and enqueues on `stream`; none allocates, waits or copies. Every pointer is device
// memory, arrays of indices included. Activations (x, out, q, k, v ...) are f32, f16 or bf16, all
// operands of one call alike unless said; sums are kept in f32. Built by nvcc for a device and by
// the C++ compiler over the fiber runtime of tests/simt for a CPU: the same sources. Errors:
// kUnsupported for a dtype or shape without a kernel; kInternal for a launch that failed.
#include <cstdint>

#include "kernels/ops.h"

// The device's kernels and those on the CPU's fibers are the same functions in two name spaces, so
// that one program can hold both: cuda::embed is the one this file was compiled for.
#ifndef VRAMPLAN_KERNELS
#define VRAMPLAN_KERNELS on_device
#endif

namespace vramplan::cuda {

/// A cudaStream_t without its header.
struct Stream {
  void* handle = nullptr;
};

/// RopeParams with its table in device memory.
struct DeviceRope {
  std::int64_t head_dim = 0, rotary_dim = 0;
  bool interleaved = false;
  const float* inverse_frequency = nullptr;  // [rotary_dim / 2]
  float magnitude = 1.0F;
};

/// Which attention kernels: SIMT (every shape and dtype; the oracle), tensor cores (mma.sync,
/// sm_80 and later: KV f16, bf16 or f8_e4m3, head_dim = value_dim of 64, 128 or 256), or warpgroup
/// tensor cores fed by the tensor memory accelerator (wgmma, sm_90a, prefill only: KV f16 or bf16,
/// head_dim = value_dim of 64 or 128, blocks of a multiple of 8 tokens that divide 128 or are
/// divided by it).
enum class AttentionPath : std::uint8_t { kDefault, kSimt, kTensorCore, kWarpgroup };

/// Whether kDefault means tensor cores where they have the shape. Off until the GPU tests of
/// tests/gpu have compared both paths on a device: configure with -DVRAMPLAN_TENSOR_CORES=ON.
#ifndef VRAMPLAN_TENSOR_CORES
#define VRAMPLAN_TENSOR_CORES 0
#endif
inline constexpr bool kTensorCoresByDefault = VRAMPLAN_TENSOR_CORES != 0;

/// The slices of one attention call as arrays, each [slice_count] in device memory.
struct DeviceSlices {
  std::int64_t count = 0;
  const std::int32_t* query_begin = nullptr;
  const std::int32_t* query_count = nullptr;
  const std::int32_t* kv_length = nullptr;
  const std::int32_t* block_tables = nullptr;  // [slice_count, blocks_per_row]
  std::int64_t blocks_per_row = 0;
  // Upper bounds known on the host, so that a captured graph stays valid while contents change.
  std::int64_t most_queries = 0, most_kv = 0;
  AttentionPath path = AttentionPath::kDefault;
  std::int64_t* block_mass = nullptr;  // [slice_count, blocks_per_row], for attention_mass
};

inline namespace VRAMPLAN_KERNELS {

void embed(Stream, TensorView out, TensorView table, const std::int32_t* ids, float scale);
void add_rows(Stream, TensorView out, TensorView table, const std::int32_t* positions);
void rmsnorm(Stream, TensorView out, TensorView x, TensorView weight, float eps, bool one_plus);
void layernorm(Stream, TensorView out, TensorView x, TensorView weight, TensorView bias, float eps);
/// x += p; out = rmsnorm(x).
void add_rmsnorm(Stream, TensorView out, TensorView x, TensorView p, TensorView weight, float eps,
                 bool one_plus);
/// out = in * weight^T (+ bias): few tokens by GEMV, quantised weights at any number of tokens.
/// Plain 16-bit GEMM with many tokens belongs to cuBLASLt. weight: f32 f16 bf16 f8_e4m3 and every
/// block format of the CPU backend; out may be f32 whatever `in` is (logits).
void linear(Stream, TensorView out, TensorView in, const WeightView& weight, TensorView bias);
/// out[rows, columns] (f16 or bf16) = dequantised weight rows.
void dequantise(Stream, TensorView out, const WeightView& weight);
/// Rows of `in` as e4m3 codes: scales[t] = max |in[t, :]| / 448, out[t, i] = in[t, i] / scales[t]
/// to the nearest; a row whose scale would be no normal number is zeros of scale 1. With
/// `weight_scales` [rows of `weight`] also the factor of each row of fp8 weights (has_fp8_rows).
/// What an fp8 product (Gemm of runtime.h) takes.
void quantise_rows(Stream, TensorView out, float* scales, TensorView in,
                   float* weight_scales = nullptr, const TensorView& weight = {});
/// linear of fp8 weights (has_fp8_rows) with the codes and scales that quantise_rows made of its
/// inputs, at any number of tokens: the sum over the codes, then both factors, then the bias.
void linear_fp8(Stream, TensorView out, TensorView in, const float* in_scales,
                const WeightView& weight, TensorView bias);
void add_bias(Stream, TensorView x, TensorView bias);
void rope(Stream, TensorView x, const std::int32_t* positions, const DeviceRope& rope);
/// A slot below 0 writes nothing (rows that pad a captured graph).
void kv_write(Stream, const KvLayerView& kv, TensorView k, TensorView v, const std::int64_t* slots);
/// rope of q and of k (both in place), then kv_write of k and v: the same bits as three calls.
void rope_kv_write(Stream, TensorView q, TensorView k, TensorView v, const std::int32_t* positions,
                   const DeviceRope& rope, const KvLayerView& kv, const std::int64_t* slots);

/// Blocks of a residual window (f16) into a history of any format, as Ops::kv_pack; packs: [count]
/// in device memory, one with a recent_block below 0 does nothing.
void kv_pack(Stream, const KvLayerView& history, const KvLayerView& recent, const KvPack* packs,
             std::int64_t count, std::int64_t stride);

/// One query a slice, split over the context and merged by log-sum-exp. The workspace decides the
/// splits: as many as attention_decode_workspace says fit into it, 1 when it is empty. A slice with
/// kv_length 0 gets zeros, one with query_count 0 nothing (rows that pad a captured graph).
/// With sinks the workspace has room for at least 4 splits: attention_history_splits.
/// KV f32, f16, bf16, f8_e4m3 (scale 1), int8, q8_0, q4_0 (kv_row_bytes); head_dim and value_dim
/// multiples of 8, value_dim <= 512.
void attention_decode(Stream, TensorView out, TensorView q, const KvLayerView& kv,
                      const DeviceSlices& slices, const AttentionParams& params,
                      TensorView workspace);
/// The same over a window `recent` (slices) and a history of any format before it, of which every
/// query sees the kv_length of its entry of `behind`: of kivi2 and kivi4 a multiple of 32, with
/// heads of multiples of 32. The workspace has room for at least 4 splits, of which the window
/// takes 2: attention_history_splits. Heads up to 256.
void attention_decode_history(Stream, TensorView out, TensorView q, const KvLayerView& recent,
                              const DeviceSlices& slices, const KvLayerView& history,
                              const DeviceSlices& behind, const AttentionParams& params,
                              TensorView workspace);
/// Any number of queries, tiled: scores stay on the chip. value_dim <= 256 (512 in f8_e4m3 and 16
/// bits).
void attention_prefill(Stream, TensorView out, TensorView q, const KvLayerView& kv,
                       const DeviceSlices& slices, const AttentionParams& params);
/// The same over a window `recent` in f16 and a history before it, as attention_decode_history.
void attention_prefill_history(Stream, TensorView out, TensorView q, const KvLayerView& recent,
                               const DeviceSlices& slices, const KvLayerView& history,
                               const DeviceSlices& behind, const AttentionParams& params);
/// attention_prefill, which also adds the attention that each block gets from all queries and heads
/// to slices.block_mass, in units of 2^-32: sums of whole numbers, the same in any order. No sinks.
void attention_mass(Stream, TensorView out, TensorView q, const KvLayerView& kv,
                    const DeviceSlices& slices, const AttentionParams& params);
/// Materialises the scores: workspace f32 [heads, most_queries, most_kv] of one slice after
/// another.
void attention_naive(Stream, TensorView out, TensorView q, const KvLayerView& kv,
                     const DeviceSlices& slices, const AttentionParams& params,
                     TensorView workspace);

void gated_activation(Stream, TensorView gate, TensorView up, GateKind kind);
void add(Stream, TensorView x, TensorView y);
void gather_rows(Stream, TensorView out, TensorView x, const std::int32_t* rows);
void softcap(Stream, TensorView x, float cap);
/// ids[t] = the token drawn from logits[t, :] (f32): temperature 0 takes the first largest;
/// otherwise softmax(logits / temperature), cut to the smallest set whose mass reaches top_p (equal
/// logits enter by lower id), by uniform[t] in [0, 1): the token at which the running sum, most
/// probable first, exceeds uniform[t]. -1 when a logit is NaN or +infinity or none is finite.
/// workspace: sample_workspace bytes.
void sample(Stream, std::int32_t* ids, TensorView logits, const float* uniform, float temperature,
            float top_p, TensorView workspace);
/// Deterministic values for weights made on the device: element i of `name_hash` in (-range,
/// range), independent of the launch. Block formats: random codes and sub-block scales under fixed
/// f16 fields.
void fill_random(Stream, TensorView out, std::uint64_t name_hash, float range);

/// Pure functions of shapes; the planner has the same formulas (planner/README.md).
/// decode: slices * heads * splits * (value_dim + 2) * 4, splits from attention_splits.
std::int64_t attention_splits(std::int64_t slice_count, std::int64_t kv_heads, std::int64_t most_kv,
                              int multiprocessors);
/// With a history or sinks: 2 for the window, or for the sinks, and at least 2, in all at most 64.
std::int64_t attention_history_splits(std::int64_t slice_count, std::int64_t kv_heads,
                                      std::int64_t most_kv, int multiprocessors);
Bytes attention_decode_workspace(std::int64_t slice_count, std::int64_t heads,
                                 std::int64_t value_dim, std::int64_t splits);
Bytes sample_workspace(std::int64_t rows, std::int64_t vocab);

}  // namespace VRAMPLAN_KERNELS
}  // namespace vramplan::cuda
