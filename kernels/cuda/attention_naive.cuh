#pragma once
// Attention that writes all scores to memory, one slice at a time: the plainest oracle, and the
// quadratic peak that tiled attention avoids. scores [heads, most_queries, most_kv] f32.
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Where the scores of (head, query) start.
VRAMPLAN_DEVICE float* score_row(const AttentionArguments& a, int head, int query) {
  return a.workspace + (std::int64_t{head} * a.slices.most_queries + query) * a.slices.most_kv;
}

/// Grid: kv tiles of 128, queries, heads. A thread takes one (query, token).
template <class C>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) naive_scores_kernel(AttentionArguments a, int slice_index) {
  const Slice slice = slice_at(a, slice_index);
  const int query = static_cast<int>(blockIdx.y), head = static_cast<int>(blockIdx.z);
  const int token = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (query >= slice.query_count || token >= slice.kv_length) return;
  const int position = slice.kv_length - slice.query_count + query;
  const int head_dim = static_cast<int>(a.kv.head_dim);
  const int kv_head = head / static_cast<int>(a.heads / a.kv.kv_heads);
  float score = dev::minus_infinity();
  if (token <= position && (token < a.sinks || token >= first_visible(a, position))) {
    const void* const q = token < a.sinks ? a.sink_q : a.q;
    const std::byte* key = a.kv.base + token_place<C>(a, slice, token, kv_head).key;
    const std::int64_t at = ((slice.query_begin + query) * a.heads + head) * head_dim;
    float dot = 0.0F;
    for (int d = 0; d < head_dim; d += 2) {
      float k[2];
      load_row<C>(key, head_dim, d, k);
      dot += dev::load_as(a.dtype, q, at + d) * k[0];
      dot += dev::load_as(a.dtype, q, at + d + 1) * k[1];
    }
    score = scaled_score(a, dot);
  }
  score_row(a, head, query)[token] = score;
}

/// Grid: queries, heads. Scores become probabilities that sum to 1.
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) naive_softmax_kernel(AttentionArguments a, int slice_index) {
  VRAMPLAN_SHARED(float, partial, 32);
  VRAMPLAN_SHARED(float, highest_of_warp, 32);
  const Slice slice = slice_at(a, slice_index);
  const int query = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  if (query >= slice.query_count) return;  // the whole block
  float* scores = score_row(a, head, query);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  float highest = dev::minus_infinity();
  for (int i = thread; i < slice.kv_length; i += threads) highest = dev::most(highest, scores[i]);
  highest = dev::warp_max(highest);
  if (dev::lane() == 0) highest_of_warp[dev::warp()] = highest;
  __syncthreads();
  for (int w = 0; w < threads / 32; ++w) highest = dev::most(highest, highest_of_warp[w]);
  float sum = 0.0F;
  for (int i = thread; i < slice.kv_length; i += threads) {
    scores[i] = dev::exp2(scores[i] - highest);
    sum += scores[i];
  }
  sum = dev::block_sum(sum, partial);
  for (int i = thread; i < slice.kv_length; i += threads) scores[i] /= sum;
}

/// Grid: queries, heads. A thread takes dimensions.
template <class C>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) naive_values_kernel(AttentionArguments a, int slice_index) {
  const Slice slice = slice_at(a, slice_index);
  const int query = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  if (query >= slice.query_count) return;
  const int dim = static_cast<int>(a.kv.value_dim);
  const int kv_head = head / static_cast<int>(a.heads / a.kv.kv_heads);
  const float* probability = score_row(a, head, query);
  const int position = slice.kv_length - slice.query_count + query;
  for (int d = static_cast<int>(threadIdx.x); d < dim; d += static_cast<int>(blockDim.x)) {
    float value = 0.0F;
    const int first = first_behind_sinks(a, position);
    for (int t = a.sinks > 0 ? 0 : first; t <= position; ++t) {
      if (t == a.sinks && t < first) t = first;
      float v[2];
      load_row<C>(a.kv.base + token_place<C>(a, slice, t, kv_head).value, dim, d & ~1, v);
      value += probability[t] * ((d & 1) != 0 ? v[1] : v[0]);  // an index would go to memory
    }
    dev::store_as(a.dtype, a.out, ((slice.query_begin + query) * a.heads + head) * dim + d, value);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
