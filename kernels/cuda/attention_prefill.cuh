#pragma once
// Tiled attention over the paged cache, SIMT, any number of queries a slice: the oracle of the
// tensor-core version. A block takes 16 queries of one head; 8 threads share a query. Tiles of 32
// tokens of K, then of V, pass through one buffer of shared memory; scores never leave the chip.
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr int kPrefillQueries = 16, kPrefillTokens = 32, kPrefillThreads = 128;

/// Rows of queries and tokens are padded by 4 floats against bank conflicts.
inline std::int64_t prefill_pitch(std::int64_t dim) { return dim + 4; }
inline std::size_t prefill_shared_floats(std::int64_t head_dim, std::int64_t padded_value_dim) {
  const std::int64_t widest = head_dim > padded_value_dim ? head_dim : padded_value_dim;
  return static_cast<std::size_t>(kPrefillQueries * prefill_pitch(head_dim) +
                                  kPrefillTokens * prefill_pitch(widest) +
                                  kPrefillQueries * (kPrefillTokens + 1));
}

/// K or V of 32 tokens from `first` to shared memory [32][pitch]; zeros from `end` on and beyond
/// dim.
template <class C>
VRAMPLAN_DEVICE void stage_tokens(const AttentionArguments& a, const Slice& slice, int kv_head,
                                  int first, int end, bool values, float* tile, int padded,
                                  int pitch) {
  const int dim = static_cast<int>(values ? a.kv.value_dim : a.kv.head_dim);
  const int quads = padded / 4;
  for (int i = static_cast<int>(threadIdx.x); i < kPrefillTokens * quads; i += kPrefillThreads) {
    const int t = i / quads, d = i % quads * 4;
    float v[4] = {};
    if (first + t < end && d < dim) {
      const TokenPlace place = token_place(a, slice, first + t, kv_head, sizeof(C));
      const std::byte* row = a.kv.base + (values ? place.value : place.key);
      load_elements<C, 4>(reinterpret_cast<const C*>(row) + d, v);
    }
    dev::store(tile + t * pitch + d, dev::F4{v[0], v[1], v[2], v[3]});
  }
}

/// Grid: query tiles, heads, slices. kChunks = ceil(value_dim / 32).
template <class C, int kChunks>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_prefill_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(float, memory);
  constexpr int kColumns = kPrefillTokens / 8;
  const Slice slice = slice_at(a, blockIdx.z);
  const int query0 = static_cast<int>(blockIdx.x) * kPrefillQueries;
  if (query0 >= slice.query_count) return;  // the whole block
  const int head = static_cast<int>(blockIdx.y);
  const int kv_head = head / static_cast<int>(a.heads / a.kv.kv_heads);
  const int head_dim = static_cast<int>(a.kv.head_dim), dim = static_cast<int>(a.kv.value_dim);
  const int q_pitch = head_dim + 4, pitch = dev::most(head_dim, 32 * kChunks) + 4;
  float* q = memory;                            // [16][q_pitch]
  float* tile = q + kPrefillQueries * q_pitch;  // [32][pitch]
  float* p = tile + kPrefillTokens * pitch;     // [16][33]
  const int r = static_cast<int>(threadIdx.x) / 8, c = static_cast<int>(threadIdx.x) % 8;
  for (int i = static_cast<int>(threadIdx.x); i < kPrefillQueries * head_dim;
       i += kPrefillThreads) {
    const int row = query0 + i / head_dim;
    const std::int64_t at = ((slice.query_begin + row) * a.heads + head) * head_dim + i % head_dim;
    q[i / head_dim * q_pitch + i % head_dim] =
        row < slice.query_count ? dev::load_as(a.dtype, a.q, at) : 0.0F;
  }
  const int base = slice.kv_length - slice.query_count;  // position of query 0
  const int position = base + query0 + r;
  const int last = dev::least(base + query0 + kPrefillQueries, slice.kv_length);
  const int first = first_visible(a, base + query0);  // blocks before it may be gone
  float highest = dev::minus_infinity(), sum = 0.0F;
  float value[kChunks][4] = {};
  for (int token = first; token < last; token += kPrefillTokens) {
    __syncthreads();
    stage_tokens<C>(a, slice, kv_head, token, last, false, tile, head_dim, pitch);
    __syncthreads();
    float score[kColumns];
    float tile_highest = dev::minus_infinity();
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const float* k = tile + (c + 8 * i) * pitch;
      float dot = 0.0F;
      for (int d = 0; d < head_dim; d += 4) {
        const auto x = dev::load<dev::F4>(q + r * q_pitch + d);
        const auto y = dev::load<dev::F4>(k + d);
        dot += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
      }
      const int at = token + c + 8 * i;
      const bool visible = at <= position && at >= first_visible(a, position);
      score[i] = visible ? scaled_score(a, dot) : dev::minus_infinity();
      tile_highest = dev::most(tile_highest, score[i]);
    }
    for (int d = 4; d > 0; d >>= 1) {  // over the 8 threads of a query
      tile_highest = dev::most(tile_highest, __shfl_xor_sync(dev::kFullMask, tile_highest, d));
    }
    const float new_highest = dev::most(highest, tile_highest);
    // Nothing visible yet: any finite reference keeps exp2(-inf - reference) at 0.
    const float reference = new_highest == dev::minus_infinity() ? 0.0F : new_highest;
    const float correction = dev::exp2(highest - reference);
    highest = new_highest;
    float part = 0.0F;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const float probability = dev::exp2(score[i] - reference);
      p[r * (kPrefillTokens + 1) + c + 8 * i] = probability;
      part += probability;
    }
    sum = sum * correction + part;
    __syncthreads();
    stage_tokens<C>(a, slice, kv_head, token, last, true, tile, 32 * kChunks, pitch);
#pragma unroll
    for (int n = 0; n < kChunks; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) value[n][e] *= correction;
    }
    __syncthreads();
    for (int t = 0; t < kPrefillTokens; ++t) {
      const float probability = p[r * (kPrefillTokens + 1) + t];
#pragma unroll
      for (int n = 0; n < kChunks; ++n) {
        const auto v = dev::load<dev::F4>(tile + t * pitch + 4 * c + 32 * n);
        value[n][0] += probability * v.x;
        value[n][1] += probability * v.y;
        value[n][2] += probability * v.z;
        value[n][3] += probability * v.w;
      }
    }
  }
  for (int d = 4; d > 0; d >>= 1) sum += __shfl_xor_sync(dev::kFullMask, sum, d);
  const int row = query0 + r;
  if (row >= slice.query_count) return;
#pragma unroll
  for (int n = 0; n < kChunks; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int d = 4 * c + 32 * n + e;
      if (d >= dim) continue;
      dev::store_as(a.dtype, a.out, ((slice.query_begin + row) * a.heads + head) * dim + d,
                    sum > 0.0F ? value[n][e] / sum : 0.0F);
    }
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
