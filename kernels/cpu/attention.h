#pragma once
// Parts of the attention operation. A unit of work reads keys and values of KV heads of one
// sequence, for the query heads of their groups.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace vramplan::cpu {

/// One call of the operation, and what follows from its arguments.
struct AttentionCall {
  const KvLayerView* kv;
  const AttentionParams* params;
  const float* q;                 // [tokens, heads * head_dim]
  float* out;                     // [tokens, heads * value_dim]
  std::int64_t group;             // query heads that share a KV head
  const float* sink_q = nullptr;  // as q, for keys before sink_tokens

  const float* query(std::int64_t row, std::int64_t head) const {
    return q + (row * params->heads + head) * kv->head_dim;
  }
  float* result(std::int64_t row, std::int64_t head) const {
    return out + (row * params->heads + head) * kv->value_dim;
  }
};

/// First cache position that the query at `position` sees.
inline std::int64_t first_visible(const AttentionParams& params, std::int64_t position) {
  const std::int64_t first = position - params.window_tokens + 1;
  return params.window_tokens > 0 && first > 0 ? first : 0;
}

/// Adds attention to a block's mass; several threads may.
inline void add_mass(const SequenceSlice& slice, std::int64_t block, double attention) {
  std::atomic_ref<std::int64_t> mass(slice.block_mass[block]);
  mass.fetch_add(std::llround(attention * 4294967296.0), std::memory_order_relaxed);
}

/// First position that is no sink of those that the query at `position` may see.
inline std::int64_t sink_end(const AttentionParams& params, std::int64_t position) {
  return std::min(params.sink_tokens, position + 1);
}

/// First position of the run of keys that ends with the query itself.
inline std::int64_t first_after_sinks(const AttentionParams& params, std::int64_t position) {
  return std::max(first_visible(params, position), sink_end(params, position));
}

/// A softmax over part of the keys of one query head: largest score, sum of exp(score - largest),
/// and the values weighted by the same exponentials. Merged by attention_merge.
struct PartialSoftmax {
  float* largest;
  float* sum;
  float* values;  // [value_dim]
};

/// The partial results in the workspace: [single-query slice][head][part] of value_dim + 2 floats.
struct PartialTable {
  float* base;
  std::int64_t heads, parts, value_dim;

  PartialSoftmax at(std::int64_t single, std::int64_t head, std::int64_t part) const {
    float* p = base + ((single * heads + head) * parts + part) * (value_dim + 2);
    return {p, p + 1, p + 2};
  }
};

/// One unit of work: keys [begin, end) of the `single`-th single-query slice for KV heads [kv_head,
/// kv_head + kv_heads) and the query heads of their groups. `part`: its place in the PartialTable.
struct DecodeWork {
  const SequenceSlice* slice;
  std::int64_t single, kv_head, kv_heads, begin, end, part;
};
/// The most KV heads of a unit of work that a thread's scratch has room for.
std::int64_t heads_together(const KvLayerView& kv, std::int64_t group);

/// One query per sequence. With `partial` null the result is finished and written to `out`.
/// scratch: kScratchBytes.
void attention_decode(const AttentionCall& call, const DecodeWork& work,
                      const PartialTable* partial, float* scratch);

/// The same over packed tiles (packed_tile.h); begin and end are multiples of 32.
void attention_decode_packed(const AttentionCall& call, const DecodeWork& work,
                             const PartialTable* partial, float* scratch);

/// Finishes head `head` of the `single`-th sequence from its parts.
void attention_merge(const AttentionCall& call, const PartialTable& partial, std::int64_t single,
                     std::int64_t row, std::int64_t head);

/// Many queries of one sequence. A tile is a run of rows, row r = query r / group, head r % group.
std::int64_t prefill_tiles(const AttentionCall& call, const SequenceSlice& slice);
/// `history`: of the slice when the call has one, else null.
void attention_prefill(const AttentionCall& call, const SequenceSlice& slice,
                       const SequenceSlice* history, std::int64_t kv_head, std::int64_t tile,
                       float* scratch);

/// A few queries of one sequence whose KV heads would not keep every thread busy: the keys are
/// shared out instead, all heads of a part after another, and the parts merged. A part's results
/// lie at the end of the scratch that is its own (`results`), of which another thread's tile never
/// takes any; `scratch` is the thread's. False where heads are enough, or there is no room.
inline constexpr std::int64_t kFewestKeysToPart = 64;
bool few_queries(const AttentionCall& call, const SequenceSlice& slice, std::int64_t threads);
struct PrefillPart {
  std::int64_t part, parts;
  float* results;
};
void attention_prefill_part(const AttentionCall& call, const SequenceSlice& slice,
                            const PrefillPart& part, float* scratch);
void attention_prefill_merge(const AttentionCall& call, const SequenceSlice& slice,
                             std::span<float* const> results);

/// Every score of head `head` in `scores` [query_count, kv_length]; then softmax, then values.
void attention_naive(const AttentionCall& call, const SequenceSlice& slice, std::int64_t head,
                     float* scores);

/// Stops the program when the history of a call contradicts its cache and slices.
void check_history(const KvLayerView& recent, std::span<const SequenceSlice> slices,
                   const AttentionParams& params);

/// True when a tile of many queries fits the scratch of a thread.
bool prefill_tile_fits(const KvLayerView& kv);

/// Errors: kUnsupported when tiles of these dimensions do not fit a thread's scratch.
void require_supported_heads(const KvLayerView& kv, std::int64_t group);

}  // namespace vramplan::cpu
