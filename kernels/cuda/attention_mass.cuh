#pragma once
// Tiled attention that also adds up what each block of the cache gets, SIMT: attention_prefill's
// tiles, and when the sums of the block's queries are known their keys once more. Attention is
// added as whole numbers, so that the order of additions does not matter.
#include "kernels/cuda/attention_prefill.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

using AttentionMass = unsigned long long;  // the type atomicAdd takes

/// What a thread's query gave to its tokens of a tile, to the blocks of those tokens. Lanes of a
/// warp that are 8 apart have the same tokens of neighbouring queries, and add theirs up first.
template <int kColumns>
VRAMPLAN_DEVICE void add_attention(const AttentionArguments& a, const float (&score)[kColumns],
                                   float highest, float inverse_sum, int first,
                                   AttentionMass* mass) {
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const float attention = dev::exp2(score[i] - highest) * inverse_sum;
    auto sum = static_cast<AttentionMass>(attention * 4294967296.0F);
    sum += __shfl_xor_sync(dev::kFullMask, sum, 8);
    sum += __shfl_xor_sync(dev::kFullMask, sum, 16);
    const int token = first + 8 * i;
    if (dev::lane() < 8 && sum > 0) {
      atomicAdd(mass + token / static_cast<int>(a.kv.block_tokens), sum);
    }
  }
}

/// Grid: query tiles, heads, slices. kChunks = ceil(value_dim / 32).
template <class C, int kChunks>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    attention_mass_kernel(AttentionArguments a, AttentionMass* all_mass) {
  VRAMPLAN_DYNAMIC_SHARED(float, memory);
  const Slice slice = slice_at(a, blockIdx.z);
  const PrefillPlace at = prefill_place(a);
  if (at.query0 >= slice.query_count) return;  // the whole block
  const int head_dim = static_cast<int>(a.kv.head_dim), q_pitch = head_dim + 4;
  const int pitch = dev::most(head_dim, 32 * kChunks) + 4;
  float* q = memory;                            // [16][q_pitch]
  float* tile = q + kPrefillQueries * q_pitch;  // [32][pitch]
  float* p = tile + kPrefillTokens * pitch;     // [16][33]
  const PrefillShared shared{q + at.r * q_pitch, tile, p + at.r * (kPrefillTokens + 1), pitch,
                             at.c};
  stage_query_tile(a, a.q, slice, at, q, q_pitch);
  const int base = slice.kv_length - slice.query_count;  // position of query 0
  const int last = dev::least(base + at.query0 + kPrefillQueries, slice.kv_length);
  const int position = base + at.query0 + at.r;
  const SeenTokens seen{first_visible(a, position), position};
  const int first = first_visible(a, base + at.query0);
  PrefillState<kChunks> state{dev::minus_infinity(), 0.0F, {}};
  for (int token = first; token < last; token += kPrefillTokens) {
    const auto stage = [&](bool values) {
      stage_tokens<C>(a, slice, at.kv_head, token, last, values, tile,
                      values ? 32 * kChunks : head_dim, pitch);
    };
    attend_tile(a, shared, token, seen, stage, state);
  }
  store_query(a, slice, at, state);

  float sum = state.sum;
  for (int d = 4; d > 0; d >>= 1) sum += __shfl_xor_sync(dev::kFullMask, sum, d);
  const bool counts = at.query0 + at.r < slice.query_count && sum > 0.0F;
  AttentionMass* const mass = all_mass + std::int64_t{blockIdx.z} * a.slices.blocks_per_row;
  for (int token = first; token < last; token += kPrefillTokens) {
    __syncthreads();
    stage_tokens<C>(a, slice, at.kv_head, token, last, false, tile, head_dim, pitch);
    __syncthreads();
    float score[kPrefillTokens / 8];
    score_tokens(a, shared.q, tile, pitch, at.c, token, seen, score);
    add_attention(a, score, counts ? state.highest : 0.0F, counts ? 1.0F / sum : 0.0F, token + at.c,
                  mass);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
