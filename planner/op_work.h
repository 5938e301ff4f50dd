#pragma once
// OpWork: calls, bytes and flops of the operations a forward pass is made of: the convention that
// the planner, calibration and the dry backend share. No device here, so no seconds.
#include <cstdint>

#include <vector>

#include "modelcards/dtype.h"

namespace vramplan {

enum class OpKind : std::uint8_t {
  kEmbed,
  kNorm,
  kLinear,
  kLinearDecode,
  kRope,
  kKvWrite,
  kAttentionPrefill,
  kAttentionDecode,
  kAttentionMassPrefill,  // with the attention of each block added up
  kAttentionMassDecode,
  kActivation,
  kAdd,
  kGather,
  kAllReduce,
  kAllGather,
  kSend,
  kSample,
  kLinearF32,
  kLinearF32Decode,
  kLinearFp8,
  kLinearFp8Decode,
  kAttentionHistoryPrefill,  // a residual window and the history before it
  kAttentionHistoryDecode,
  kSampleBeams,
  kBetween,  // no operation: what each takes outside of itself
};
/// The word in OpCost::op: embed norm linear linear_decode rope kv_write attention_prefill
/// attention_decode attention_mass_prefill attention_mass_decode activation add gather all_reduce
/// all_gather send sample linear_f32 linear_f32_decode linear_fp8 linear_fp8_decode
/// attention_history_prefill attention_history_decode sample_beams between.
const char* name_of(OpKind op);
/// Kernels that a GPU runs for a call: 2 where the input is quantised before it is multiplied.
std::int64_t gpu_kernels_of(OpKind op);

/// The work of one operation or of many alike. bytes: all that is read and written, weights and
/// activations; on a link, what one rank moves. flops: 2 per multiply-add.
struct OpWork {
  OpKind op = OpKind::kLinear;
  DType dtype = DType::kF32;    // of the bytes that dominate: weight, cache or activation
  DType compute = DType::kF32;  // whose peak the flops run at
  std::int64_t calls = 1;
  double bytes = 0, flops = 0;
  int ranks = 1;  // that take part in a collective or a send

  OpWork& operator+=(const OpWork& other);  // same op, dtype
};

// One call of each operation of Ops, of the communicator last.
OpWork embed_work(std::int64_t tokens, std::int64_t hidden, DType table, DType activation);
OpWork norm_work(std::int64_t tokens, std::int64_t columns, DType activation);
/// At most kLinearDecodeTokens tokens are a linear_decode: the weights set the pace there, and
/// kernels take other ways than for many tokens, so that it has a cost line of its own.
inline constexpr std::int64_t kLinearDecodeTokens = 8;
OpWork linear_work(std::int64_t tokens, std::int64_t in, std::int64_t out, DType weight,
                   DType activation);
/// The same with block-quantised weights that meet unrounded inputs: linear_f32(_decode).
OpWork linear_f32_work(std::int64_t tokens, std::int64_t in, std::int64_t out, DType weight,
                       DType activation);
/// Whether fp8 inputs can meet these weights: fp8 with at most one scale a row.
bool takes_fp8_inputs(DType weight);
/// fp8 weights that meet inputs rounded to fp8, a row at a time: linear_fp8(_decode). The codes are
/// written and read beside the input; flops run at the peak of fp8.
OpWork linear_fp8_work(std::int64_t tokens, std::int64_t in, std::int64_t out, DType weight,
                       DType activation);
OpWork rope_work(std::int64_t tokens, std::int64_t columns, DType activation);
/// kv_columns: elements of K and V of a token; kv_rows: in how many rows (two a head).
OpWork kv_write_work(std::int64_t tokens, std::int64_t kv_columns, std::int64_t kv_rows,
                     DType activation, DType kv);
/// Blocks of 32 tokens of a residual window that move into the history: read in f16, every
/// stride'th written in its format.
OpWork kv_pack_work(double blocks, std::int64_t kv_columns, std::int64_t kv_rows, DType kv,
                    std::int64_t stride);
OpWork activation_work(std::int64_t tokens, std::int64_t columns, bool gated, DType activation);
/// The sum and the norm after it in one operation: reads x and p, writes x and its norm.
OpWork add_norm_work(std::int64_t tokens, std::int64_t columns, DType activation);
OpWork add_work(std::int64_t tokens, std::int64_t columns, DType activation);
OpWork gather_work(std::int64_t tokens, std::int64_t columns, DType activation);
/// Ring: each rank moves 2 (n - 1) / n of the tensor.
OpWork all_reduce_work(std::int64_t tokens, std::int64_t columns, DType activation, int ranks);
/// Each rank receives (n - 1) parts of [tokens, columns].
OpWork all_gather_work(std::int64_t tokens, std::int64_t columns, DType activation, int ranks);
OpWork send_work(std::int64_t tokens, std::int64_t columns, DType activation);

/// Choosing a token from each row of f32 logits: one look at each of them, no flops.
OpWork sample_work(std::int64_t rows, std::int64_t vocab);
/// The same by beams: all logits of a row are made probabilities before any of them is chosen.
OpWork sample_beams_work(std::int64_t rows, std::int64_t vocab);
/// Whether an operation is one of Ops: neither a choice of tokens nor a collective.
bool is_of_ops(OpKind op);
/// As many calls as these operations of Ops have.
OpWork between_work(const std::vector<OpWork>& works);

/// Attention of one slice: `queries` new tokens, `kv_length` in the cache with them. Causal pairs:
/// queries * (kv_length - queries) + queries (queries + 1) / 2, cut to the window; 2 flops per
/// pair, head and element of q.k and of p.v. Naive writes the scores, reads and writes them for the
/// softmax, and reads them again: 4 passes of f32.
struct AttentionShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0, value_dim = 0, window_tokens = 0;
  DType kv = DType::kF16, activation = DType::kF32;
  bool naive = false;
  /// With a residual window: its tokens are read in f16, and those before it from a history of
  /// format `kv` that keeps every stride'th (see packed_tokens).
  std::int64_t residual_tokens = 0, history_stride = 1;
  bool mass = false;  // the weights of keys are added up: keys are read and multiplied once more
};
/// `repeat` > 1: passes over a growing cache, each `queries` tokens longer than the one before.
OpWork attention_work(const AttentionShape& shape, std::int64_t queries, std::int64_t kv_length,
                      std::int64_t repeat = 1);

}  // namespace vramplan
