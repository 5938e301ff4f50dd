#pragma once
// Tiled prefill attention on tensor cores (mma.m16n8k16, sm_80 and later; Dao 2023,
// FlashAttention-2). A block takes 64 queries of one head, a warp 16 of them. While a tile of K is
// multiplied the tile of V is on its way, and the other way round: one buffer each, filled by
// cp.async.
#include "kernels/cuda/tensor_tiles.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr int kMmaQueries = 64, kMmaThreads = 128;

template <int kDim>
inline constexpr int kMmaTokens = kDim > 128 ? 32 : 64;

template <class T, class C, int kDim>
constexpr std::size_t prefill_mma_shared_bytes() {
  return kMmaQueries * kDim * sizeof(T) + 2 * kMmaTokens<kDim> * kDim * sizeof(C);
}

/// Tokens of a cache in one run: a query at position p sees those of [first, end) up to p, from
/// `floor` and its window's first on. `behind`: queries stand behind its end, not in it.
struct TokenSpan {
  int first, end, floor;
  bool behind;
};
VRAMPLAN_DEVICE int first_of_span(const AttentionArguments& a, const TokenSpan& span,
                                  int position) {
  return dev::most(first_visible(a, position), span.floor);
}

/// Scores in log2 units; those a query may not see become -infinity.
template <int kTokens>
VRAMPLAN_DEVICE void mask_scores(const AttentionArguments& a, const TokenSpan& span, int token,
                                 int position, bool all, float (&score)[kTokens / 8][4]) {
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int at = token + 8 * n + 2 * (dev::lane() % 4) + e % 2, own = position + 8 * (e / 2);
      const bool visible = all || (at <= own && (!span.behind || at < span.end) &&
                                   at >= first_of_span(a, span, own));
      score[n][e] = visible ? scaled_score(a, score[n][e]) : dev::minus_infinity();
    }
  }
}

/// A warp's 16 query rows from `row0` of the slice, divided by their sums.
template <int kDim>
VRAMPLAN_DEVICE void store_query_rows(const AttentionArguments& a, const Slice& slice, int row0,
                                      int head, RowState<kDim>& state) {
  finish_sums(state);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = row0 + dev::lane() / 4 + 8 * half;
    if (row >= slice.query_count) continue;
    const float scale = state.sum[half] > 0.0F ? 1.0F / state.sum[half] : 0.0F;
    const std::int64_t at = ((slice.query_begin + row) * a.heads + head) * kDim;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        dev::store_as(a.dtype, a.out, at + 8 * n + 2 * (dev::lane() % 4) + e,
                      state.value[n][2 * half + e] * scale);
      }
    }
  }
}

/// A block of the kernels here: 64 queries of a head, a warp's 16 from row0 on.
struct MmaBlock {
  int query0, head, kv_head, row0;
  int first_position;  // of the block's first query
  VRAMPLAN_DEVICE int position() const { return first_position + row0 + dev::lane() / 4; }
  VRAMPLAN_DEVICE int last_position() const { return first_position + kMmaQueries - 1; }
};
VRAMPLAN_DEVICE MmaBlock mma_block(const AttentionArguments& a, const Slice& slice) {
  const int query0 = static_cast<int>(blockIdx.x) * kMmaQueries;
  const int head = static_cast<int>(blockIdx.y);
  return {query0, head, head / static_cast<int>(a.heads / a.kv.kv_heads), 16 * dev::warp(),
          slice.kv_length - slice.query_count + query0};
}
template <class T, int kDim>
VRAMPLAN_DEVICE void stage_block_queries(const AttentionArguments& a, const Slice& slice,
                                         const MmaBlock& b, const void* rows, std::byte* queries) {
  stage_queries<T, kDim>(a, rows, kMmaQueries, queries, [&](int r) -> std::int64_t {
    if (b.query0 + r >= slice.query_count) return -1;
    return ((slice.query_begin + b.query0 + r) * a.heads + b.head) * kDim;
  });
}

/// Tiles in shared memory: T of queries, C of the cache.
struct MmaTiles {
  std::byte *queries, *keys, *values;
};
template <class T, class C, int kDim>
VRAMPLAN_DEVICE MmaTiles mma_tiles(std::byte* memory) {
  std::byte* const keys = memory + kMmaQueries * kDim * sizeof(T);
  return {memory, keys, keys + kMmaTokens<kDim> * kDim * sizeof(C)};
}

/// Adds the tokens of a span to a warp's rows. stage(token, values, tile) brings a tile of K or V,
/// in the background or at once; `ready` is called once the first two are on their way.
template <class T, class C, int kDim, class Stage, class Ready>
VRAMPLAN_DEVICE void attend_span(const AttentionArguments& a, const MmaBlock& b,
                                 const MmaTiles& tiles, const TokenSpan& span, Stage stage,
                                 Ready ready, RowState<kDim>& state) {
  constexpr int kTokens = kMmaTokens<kDim>;
  const int position = b.position();  // in a register of its own: without, sm_100 spills one
  stage(span.first, false, tiles.keys);
  dev::copy_commit();
  stage(span.first, true, tiles.values);
  dev::copy_commit();
  ready();
  for (int token = span.first; token < span.end; token += kTokens) {
    const int next = token + kTokens;
    dev::copy_wait<1>();  // K is here, V may be on its way
    __syncthreads();
    float score[kTokens / 8][4] = {};
    score_rows<T, C, kDim, kTokens>(tiles.queries, b.row0, tiles.keys, score);
    __syncthreads();
    if (next < span.end) stage(next, false, tiles.keys);
    dev::copy_commit();  // also when empty: waits count groups
    const bool all = next - 1 <= b.first_position && (!span.behind || next <= span.end) &&
                     token >= first_of_span(a, span, b.last_position());
    mask_scores<kTokens>(a, span, token, position, all, score);
    soften<kDim, kTokens>(score, state);
    dev::copy_wait<1>();  // V is here, the next K may be on its way
    __syncthreads();
    add_value_rows<T, C, kDim, kTokens>(score, tiles.values, state);
    __syncthreads();
    if (next < span.end) stage(next, true, tiles.values);
    dev::copy_commit();
  }
}

/// Grid: query tiles, heads, slices.
template <class T, class C, int kDim>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_prefill_mma_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(std::byte, memory);
  const Slice slice = slice_at(a, blockIdx.z);
  const MmaBlock b = mma_block(a, slice);
  if (b.query0 >= slice.query_count) return;  // the whole block
  const MmaTiles tiles = mma_tiles<T, C, kDim>(memory);
  const TokenSpan span{first_visible(a, b.first_position),
                       dev::least(b.first_position + kMmaQueries, slice.kv_length), 0, false};
  RowState<kDim> state;
  clear(state);
  attend_span<T, C, kDim>(
      a, b, tiles, span,
      [&](int token, bool values, std::byte* tile) {
        stage_rows<C, kDim>(a, slice, b.kv_head, token, kMmaTokens<kDim>, span.end, values, tile,
                            static_cast<int>(threadIdx.x), kMmaThreads);
      },
      [&] { stage_block_queries<T, kDim>(a, slice, b, a.q, tiles.queries); }, state);
  store_query_rows(a, slice, b.query0 + b.row0, b.head, state);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
