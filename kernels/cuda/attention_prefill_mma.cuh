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

/// Scores in log2 units; those a query may not see become -infinity.
template <int kTokens>
VRAMPLAN_DEVICE void mask_scores(const AttentionArguments& a, int token, int position, bool all,
                                 float (&score)[kTokens / 8][4]) {
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int at = token + 8 * n + 2 * (dev::lane() % 4) + e % 2, own = position + 8 * (e / 2);
      const bool visible = all || (at <= own && at >= first_visible(a, own));
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

/// Grid: query tiles, heads, slices.
template <class T, class C, int kDim>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_prefill_mma_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(std::byte, memory);
  constexpr int kTokens = kMmaTokens<kDim>;
  const Slice slice = slice_at(a, blockIdx.z);
  const int query0 = static_cast<int>(blockIdx.x) * kMmaQueries;
  if (query0 >= slice.query_count) return;  // the whole block
  const int head = static_cast<int>(blockIdx.y), thread = static_cast<int>(threadIdx.x);
  const int kv_head = head / static_cast<int>(a.heads / a.kv.kv_heads);
  std::byte* queries = memory;
  std::byte* keys = queries + kMmaQueries * kDim * sizeof(T);
  std::byte* values = keys + kTokens * kDim * sizeof(C);
  const int base = slice.kv_length - slice.query_count;
  const int last = dev::least(base + query0 + kMmaQueries, slice.kv_length);
  const int first = first_visible(a, base + query0);

  stage_rows<C, kDim>(a, slice, kv_head, first, kTokens, last, false, keys, thread, kMmaThreads);
  dev::copy_commit();
  stage_rows<C, kDim>(a, slice, kv_head, first, kTokens, last, true, values, thread, kMmaThreads);
  dev::copy_commit();
  stage_queries<T, kDim>(a, kMmaQueries, queries, [&](int r) -> std::int64_t {
    if (query0 + r >= slice.query_count) return -1;
    return ((slice.query_begin + query0 + r) * a.heads + head) * kDim;
  });
  RowState<kDim> state;
  clear(state);
  const int row0 = 16 * dev::warp(), position = base + query0 + row0 + dev::lane() / 4;
  for (int token = first; token < last; token += kTokens) {
    const int next = token + kTokens;
    dev::copy_wait<1>();  // K is here, V may be on its way
    __syncthreads();
    float score[kTokens / 8][4] = {};
    score_rows<T, C, kDim, kTokens>(queries, row0, keys, score);
    __syncthreads();
    if (next < last) {
      stage_rows<C, kDim>(a, slice, kv_head, next, kTokens, last, false, keys, thread, kMmaThreads);
    }
    dev::copy_commit();  // also when empty: waits count groups
    const bool all =
        next - 1 <= base + query0 && token >= first_visible(a, base + query0 + kMmaQueries - 1);
    mask_scores<kTokens>(a, token, position, all, score);
    soften<kDim, kTokens>(score, state);
    dev::copy_wait<1>();  // V is here, the next K may be on its way
    __syncthreads();
    add_value_rows<T, C, kDim, kTokens>(score, values, state);
    __syncthreads();
    if (next < last) {
      stage_rows<C, kDim>(a, slice, kv_head, next, kTokens, last, true, values, thread,
                          kMmaThreads);
    }
    dev::copy_commit();
  }
  store_query_rows(a, slice, query0 + row0, head, state);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
