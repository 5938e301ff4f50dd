#pragma once
// Ops: the operations the transformer is written over. Calls may only enqueue; Backend::synchronize
// waits. Activations are [tokens, features], row-major, of the backend's activation dtype (f32 on
// the CPU). No operation allocates device memory: scratch comes in as `workspace`, sized by the
// queries below, which are pure functions of shapes.
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/tensor.h"

namespace vramplan {

enum class GateKind : std::uint8_t { kSilu, kGelu, kGeluTanh, kRelu };

struct RopeParams {
  std::int64_t head_dim = 0, rotary_dim = 0;
  bool interleaved = false;  // pairs (2i, 2i+1) instead of (i, i + rotary_dim/2)
  const float* inverse_frequency =
      nullptr;             // [rotary_dim / 2], scaling already applied; host memory
  float magnitude = 1.0F;  // yarn attention factor on cos and sin
};

/// Bytes of a K or V row of `width` elements in the cache: f32 f16 bf16 f8_e4m3 an element each;
/// q8_0 and q4_0 blocks of 32 elements; int8 a code an element and then one f32 scale (largest
/// magnitude / 127) for the row. kivi2, kivi4: a row's share of the tiles of 32 tokens it lies in
/// (kernels/cpu/packed_tile.h); blocks of such a cache hold multiples of 32 tokens.
inline Bytes kv_row_bytes(DType dtype, std::int64_t width) {
  switch (dtype) {  // kernels ask for every block: without a table where they can
    case DType::kF32:
      return {width * 4};
    case DType::kF16:
    case DType::kBF16:
      return {width * 2};
    case DType::kF8E4M3:
      return {width};
    case DType::kI8:
      return {width + 4};
    default:
      return bytes_of(dtype, 1, width);
  }
}

/// One layer's part of the block pool. K of (block, head, token) is the row of head_dim elements at
/// base + block * block_stride + (head * block_tokens + token) * kv_row_bytes(dtype, head_dim);
/// V is the same at + value_offset with value_dim.
struct KvLayerView {
  std::byte* base = nullptr;
  DType dtype = DType::kF16;
  std::int64_t block_count = 0, block_tokens = 0;
  std::int64_t kv_heads = 0, head_dim = 0, value_dim = 0;
  std::int64_t block_stride = 0;  // bytes from block b to b + 1
  std::int64_t value_offset = 0;  // bytes from the K part to the V part of a block
  /// Of kivi2 and kivi4: heads (bit h: head h) that stay in f16. The others lie as above, as if
  /// they were all; behind them, at base + full_offset, K and then V of these, in f16.
  std::uint64_t full_heads = 0;
  std::int64_t full_offset = 0;

  std::int64_t full_count() const { return std::popcount(full_heads); }
};

/// The view for one head: where the heads of a layer have two formats, that of the region it is in,
/// moved so that the head is found by its own number.
inline KvLayerView view_of_head(const KvLayerView& kv, std::int64_t head) {
  if (kv.full_heads == 0) return kv;
  const std::uint64_t bit = std::uint64_t{1} << head;
  const std::int64_t full_before = std::popcount(kv.full_heads & (bit - 1));
  const bool full = (kv.full_heads & bit) != 0;
  KvLayerView view = kv;
  view.full_heads = 0;
  if (full) view.dtype = DType::kF16;
  const std::int64_t key_rows = kv_row_bytes(view.dtype, kv.head_dim).n * kv.block_tokens;
  const std::int64_t value_rows = kv_row_bytes(view.dtype, kv.value_dim).n * kv.block_tokens;
  // The head's place in its region is `moved` before its number.
  const std::int64_t moved = full ? head - full_before : full_before;
  view.base += (full ? kv.full_offset : 0) - moved * key_rows;
  if (full) view.value_offset = kv.full_count() * key_rows;
  view.value_offset += moved * (key_rows - value_rows);
  return view;
}

/// Bytes of K and V of the layer in one block.
inline Bytes kv_part_bytes(const KvLayerView& kv) {
  const auto rows = [&](DType dtype, std::int64_t heads) {
    return (kv_row_bytes(dtype, kv.head_dim) + kv_row_bytes(dtype, kv.value_dim)) *
           detail::checked_mul(heads, kv.block_tokens);
  };
  const std::int64_t full = kv.full_count();
  return rows(kv.dtype, kv.kv_heads - full) + rows(DType::kF16, full);
}

/// The tokens of one sequence inside a forward pass.
struct SequenceSlice {
  std::int64_t query_begin = 0;  // first row of q
  std::int64_t query_count = 0;
  std::int64_t kv_length = 0;                 // tokens in the cache, these queries included
  const std::int32_t* block_table = nullptr;  // [ceil(kv_length / block_tokens)]
  /// [as block_table] or null: gets the attention of all queries and heads to each block added, in
  /// units of 2^-32, so that the order of additions does not matter. Host memory.
  std::int64_t* block_mass = nullptr;
};

/// Tokens of a block of the residual window, and so of one step into the history.
inline constexpr std::int64_t kResidualBlockTokens = 32;

/// One block of the residual window (its newest tokens in f16) on its way into the history: of its
/// 32 tokens every stride'th, from `first_slot` on of the history. A recent_block below 0 is no
/// block: it fills up the steps of a GPU, which are alike.
struct KvPack {
  std::int32_t recent_block = 0;
  std::int64_t first_slot = 0;  // block * block_tokens + offset; the rows lie in one block
};

struct AttentionParams {
  std::int64_t heads = 0;  // of q on this rank
  float scale = 1.0F;
  float softcap = 0.0F;            // 0 = none
  std::int64_t window_tokens = 0;  // 0 = whole context
  bool naive = false;              // materialise the scores: oracle, and the O(N^2) spike
  /// Slices may have several queries, whatever these have: a GPU's kernel and scratch for those.
  bool many_queries = false;
  /// The first tokens of a sequence, seen by every later query beside its window (StreamingLLM).
  /// Their scores are those of `sink_q`: q rotated for its place among the tokens it sees. Both
  /// need a window.
  std::int64_t sink_tokens = 0;
  TensorView sink_q;  // as q; read for sinks only
  /// A residual window: the slices' own cache holds the newest tokens, and tokens before them lie
  /// in another cache, where every query of a slice sees the first kv_length of its block table.
  /// One history slice a slice. Neither naive nor with windows or sinks.
  const KvLayerView* history = nullptr;
  std::span<const SequenceSlice> history_slices;
};

class Ops {
 public:
  virtual ~Ops() = default;

  /// May rearrange a weight's bytes in place (load time only).
  virtual void pack(WeightView& weight) = 0;

  /// out[t, :] = table[ids[t], :] * scale.  table [vocab, hidden]; out [tokens, hidden].
  virtual void embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
                     float scale) = 0;
  /// out[t, :] += table[positions[t], :].  Learned positions. table [positions, hidden] any dtype.
  virtual void add_rows(TensorView out, const WeightView& table,
                        std::span<const std::int32_t> positions) = 0;
  /// RMSNorm over groups of `weight.columns` elements (a whole row, or one head for q/k norms):
  /// out = x / sqrt(mean(x^2) + eps) * (weight + (one_plus ? 1 : 0)). weight [1, n] f32. In place
  /// allowed.
  virtual void rmsnorm(TensorView out, TensorView x, TensorView weight, float eps,
                       bool one_plus) = 0;
  /// LayerNorm over a row with weight and bias [1, n] f32. In place allowed.
  virtual void layernorm(TensorView out, TensorView x, TensorView weight, TensorView bias,
                         float eps) = 0;
  /// out[t, o] = sum_i in[t, i] * weight[o, i] (+ bias[o]), accumulated in f32.
  /// in [tokens, in]; weight [out, in]; bias [1, out] f32 or data == null; out [tokens, out].
  virtual void linear(TensorView out, TensorView in, const WeightView& weight, TensorView bias,
                      TensorView workspace) = 0;
  /// Rotates each head of x [tokens, heads * head_dim] in place at positions[t].
  virtual void rope(TensorView x, std::span<const std::int32_t> positions,
                    const RopeParams& params) = 0;
  /// Writes k [tokens, kv_heads * head_dim] and v [tokens, kv_heads * value_dim] to their slots:
  /// slots[t] = block * block_tokens + offset.
  virtual void kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                        std::span<const std::int64_t> slots) = 0;
  /// Moves blocks of `recent` (f16, 32 tokens a block) into `history`, encoded as its format says:
  /// of each the tokens 0, stride, 2 stride .. as 32 / stride consecutive rows. kivi2 and kivi4
  /// take all 32 (stride 1), from a slot that is a multiple of 32. Errors: kUnsupported where a
  /// backend has no residual window.
  virtual void kv_pack(const KvLayerView& history, const KvLayerView& recent,
                       std::span<const KvPack> packs, std::int64_t stride);
  /// Causal attention of q [tokens, heads * head_dim] over the cache; query j of a slice sits at
  /// position kv_length - query_count + j and sees positions <= its own (and > own - window,
  /// or < sink_tokens).
  /// out [tokens, heads * value_dim].
  virtual void attention(TensorView out, TensorView q, const KvLayerView& kv,
                         std::span<const SequenceSlice> slices, const AttentionParams& params,
                         TensorView workspace) = 0;
  /// gate = act(gate) * up, in place; with up.data == null and up.rows == 0: gate = act(gate).
  virtual void gated_activation(TensorView gate, TensorView up, GateKind kind) = 0;
  /// x += p, then out = rmsnorm(x). Two operations unless a backend has one for both.
  virtual void add_rmsnorm(TensorView out, TensorView x, TensorView p, TensorView weight, float eps,
                           bool one_plus) {
    add(x, p);
    rmsnorm(out, x, weight, eps, one_plus);
  }
  /// rope of q and of k, both in place, then kv_write of k and v: likewise.
  virtual void rope_kv_write(TensorView q, TensorView k, TensorView v,
                             std::span<const std::int32_t> positions, const RopeParams& params,
                             const KvLayerView& kv, std::span<const std::int64_t> slots) {
    rope(q, positions, params);
    rope(k, positions, params);
    kv_write(kv, k, v, slots);
  }
  /// x += y.
  virtual void add(TensorView x, TensorView y) = 0;
  /// out[i, :] = x[rows[i], :].
  virtual void gather_rows(TensorView out, TensorView x, std::span<const std::int32_t> rows) = 0;
  /// out = x, tensors of one shape and dtype: all rows gathered, unless a backend copies.
  virtual void copy(TensorView out, TensorView x);
  /// x = cap * tanh(x / cap).
  virtual void softcap(TensorView x, float cap) = 0;

  /// Scratch a linear needs. Pure; the rule is documented with its formula in kernels/workspace.h.
  virtual Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features,
                                 DType weight) const = 0;
  virtual Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                                    const AttentionParams& params) const = 0;
};

}  // namespace vramplan
