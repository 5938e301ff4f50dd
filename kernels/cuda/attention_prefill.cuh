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
      const TokenPlace place = token_place<C>(a, slice, first + t, kv_head);
      const std::byte* row = a.kv.base + (values ? place.value : place.key);
      load_row<C>(row, dim, d, v);
    }
    dev::store(tile + t * pitch + d, dev::F4{v[0], v[1], v[2], v[3]});
  }
}

/// Where a thread works: query `r` of the block's 16, and each 8th token or quad of dims from `c`.
struct PrefillPlace {
  int query0, head, kv_head, r, c;
};

/// The block's `rows` (q, or q for sinks) to shared memory [16][pitch]; zeros beyond the
/// slice.
VRAMPLAN_DEVICE void stage_query_tile(const AttentionArguments& a, const void* rows,
                                      const Slice& slice, const PrefillPlace& at, float* q,
                                      int pitch) {
  const int dim = static_cast<int>(a.kv.head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < kPrefillQueries * dim; i += kPrefillThreads) {
    const int row = at.query0 + i / dim;
    const std::int64_t from = ((slice.query_begin + row) * a.heads + at.head) * dim + i % dim;
    q[i / dim * pitch + i % dim] =
        row < slice.query_count ? dev::load_as(a.dtype, rows, from) : 0.0F;
  }
}

/// A thread's running softmax over its query's tokens.
template <int kChunks>
struct PrefillState {
  float highest, sum;  // sum: of this thread's tokens
  float value[kChunks][4];
};

/// The tokens that a query sees of those at hand, both included.
struct SeenTokens {
  int first, last;
};

/// Scores of this thread's tokens of a tile whose keys lie in `tile`; their largest of the query.
template <int kColumns>
VRAMPLAN_DEVICE float score_tokens(const AttentionArguments& a, const float* q, const float* tile,
                                   int pitch, int c, int token, SeenTokens seen,
                                   float (&score)[kColumns]) {
  float highest = dev::minus_infinity();
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const float* k = tile + (c + 8 * i) * pitch;
    float dot = 0.0F;
    for (int d = 0; d < static_cast<int>(a.kv.head_dim); d += 4) {
      const auto x = dev::load<dev::F4>(q + d);
      const auto y = dev::load<dev::F4>(k + d);
      dot += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
    }
    const int at = token + c + 8 * i;
    const bool visible = at <= seen.last && at >= seen.first;
    score[i] = visible ? scaled_score(a, dot) : dev::minus_infinity();
    highest = dev::most(highest, score[i]);
  }
  for (int d = 4; d > 0; d >>= 1) {  // over the 8 threads of a query
    highest = dev::most(highest, __shfl_xor_sync(dev::kFullMask, highest, d));
  }
  return highest;
}

/// Probabilities into `p` (the query's row); what was summed before is scaled to the new largest.
template <int kColumns, int kChunks>
VRAMPLAN_DEVICE void soften_tokens(const float (&score)[kColumns], float tile_highest, int c,
                                   float* p, PrefillState<kChunks>& state) {
  const float highest = dev::most(state.highest, tile_highest);
  // Nothing visible yet: any finite reference keeps exp2(-inf - reference) at 0.
  const float reference = highest == dev::minus_infinity() ? 0.0F : highest;
  const float correction = dev::exp2(state.highest - reference);
  state.highest = highest;
  float part = 0.0F;
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const float probability = dev::exp2(score[i] - reference);
    p[c + 8 * i] = probability;
    part += probability;
  }
  state.sum = state.sum * correction + part;
#pragma unroll
  for (int n = 0; n < kChunks; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) state.value[n][e] *= correction;
  }
}

/// Adds probability * V of a tile whose values lie in `tile`.
template <int kChunks>
VRAMPLAN_DEVICE void add_token_values(const float* p, const float* tile, int pitch, int c,
                                      PrefillState<kChunks>& state) {
  for (int t = 0; t < kPrefillTokens; ++t) {
    const float probability = p[t];
#pragma unroll
    for (int n = 0; n < kChunks; ++n) {
      const auto v = dev::load<dev::F4>(tile + t * pitch + 4 * c + 32 * n);
      state.value[n][0] += probability * v.x;
      state.value[n][1] += probability * v.y;
      state.value[n][2] += probability * v.z;
      state.value[n][3] += probability * v.w;
    }
  }
}

/// Where a thread finds its query and what its block shares.
struct PrefillShared {
  const float* q;   // of the thread's query
  float *tile, *p;  // [32][pitch]; [33] of the query
  int pitch, c;
};

/// One tile of 32 tokens from `token` on: stage(false) brings its keys to `tile`, stage(true) its
/// values.
template <int kChunks, class Stage>
VRAMPLAN_DEVICE void attend_tile(const AttentionArguments& a, const PrefillShared& s, int token,
                                 SeenTokens seen, Stage stage, PrefillState<kChunks>& state) {
  __syncthreads();
  stage(false);
  __syncthreads();
  float score[kPrefillTokens / 8];
  const float highest = score_tokens(a, s.q, s.tile, s.pitch, s.c, token, seen, score);
  soften_tokens(score, highest, s.c, s.p, state);
  __syncthreads();
  stage(true);
  __syncthreads();
  add_token_values(s.p, s.tile, s.pitch, s.c, state);
}

template <int kChunks>
VRAMPLAN_DEVICE void store_query(const AttentionArguments& a, const Slice& slice,
                                 const PrefillPlace& at, PrefillState<kChunks>& state) {
  float sum = state.sum;
  for (int d = 4; d > 0; d >>= 1) sum += __shfl_xor_sync(dev::kFullMask, sum, d);
  const int row = at.query0 + at.r, dim = static_cast<int>(a.kv.value_dim);
  if (row >= slice.query_count) return;
#pragma unroll
  for (int n = 0; n < kChunks; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int d = 4 * at.c + 32 * n + e;
      if (d >= dim) continue;
      dev::store_as(a.dtype, a.out, ((slice.query_begin + row) * a.heads + at.head) * dim + d,
                    sum > 0.0F ? state.value[n][e] / sum : 0.0F);
    }
  }
}

/// The thread's place in a block of the prefill kernels.
VRAMPLAN_DEVICE PrefillPlace prefill_place(const AttentionArguments& a) {
  const int thread = static_cast<int>(threadIdx.x), head = static_cast<int>(blockIdx.y);
  return {static_cast<int>(blockIdx.x) * kPrefillQueries, head,
          head / static_cast<int>(a.heads / a.kv.kv_heads), thread / 8, thread % 8};
}

/// A block of the prefill kernels: its place, its shared memory and its positions.
struct PrefillBlock {
  PrefillPlace at;
  int head_dim, q_pitch, pitch;
  float *q, *tile, *p;  // [16][q_pitch], [32][pitch], [16][33]; what is behind them is `end`
  float* end;
  int first_position, last;  // of the block's first query; behind its last
  PrefillShared shared;

  VRAMPLAN_DEVICE bool idle(const Slice& slice) const { return at.query0 >= slice.query_count; }
  VRAMPLAN_DEVICE int position() const { return first_position + at.r; }
};

/// kChunks = ceil(value_dim / 32).
template <int kChunks>
VRAMPLAN_DEVICE PrefillBlock prefill_block(const AttentionArguments& a, const Slice& slice,
                                           float* memory) {
  PrefillBlock b;
  b.at = prefill_place(a);
  b.head_dim = static_cast<int>(a.kv.head_dim);
  b.q_pitch = b.head_dim + 4;
  b.pitch = dev::most(b.head_dim, 32 * kChunks) + 4;
  b.q = memory;
  b.tile = b.q + kPrefillQueries * b.q_pitch;
  b.p = b.tile + kPrefillTokens * b.pitch;
  b.end = b.p + kPrefillQueries * (kPrefillTokens + 1);
  b.first_position = slice.kv_length - slice.query_count + b.at.query0;
  b.last = dev::least(b.first_position + kPrefillQueries, slice.kv_length);
  b.shared = {b.q + b.at.r * b.q_pitch, b.tile, b.p + b.at.r * (kPrefillTokens + 1), b.pitch,
              b.at.c};
  return b;
}

/// Tiles of the paged cache from `first` on, up to the block's last position.
template <class C, int kChunks>
VRAMPLAN_DEVICE void attend_tokens(const AttentionArguments& a, const Slice& slice,
                                   const PrefillBlock& b, int first, SeenTokens seen,
                                   PrefillState<kChunks>& state) {
  for (int token = first; token < b.last; token += kPrefillTokens) {
    const auto stage = [&](bool values) {
      stage_tokens<C>(a, slice, b.at.kv_head, token, b.last, values, b.tile,
                      values ? 32 * kChunks : b.head_dim, b.pitch);
    };
    attend_tile(a, b.shared, token, seen, stage, state);
  }
}

/// Grid: query tiles, heads, slices.
template <class C, int kChunks>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_prefill_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(float, memory);
  const Slice slice = slice_at(a, blockIdx.z);
  const PrefillBlock b = prefill_block<kChunks>(a, slice, memory);
  if (b.idle(slice)) return;  // the whole block
  stage_query_tile(a, a.q, slice, b.at, b.q, b.q_pitch);
  const SeenTokens seen{first_visible(a, b.position()), b.position()};
  const int first = first_visible(a, b.first_position);  // blocks before it may be gone
  PrefillState<kChunks> state{dev::minus_infinity(), 0.0F, {}};
  attend_tokens<C>(a, slice, b, first, seen, state);
  store_query(a, slice, b.at, state);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
