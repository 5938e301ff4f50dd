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
  const PrefillBlock b = prefill_block<kChunks>(a, slice, memory);
  if (b.idle(slice)) return;  // the whole block
  stage_query_tile(a, a.q, slice, b.at, b.q, b.q_pitch);
  const SeenTokens seen{first_visible(a, b.position()), b.position()};
  const int first = first_visible(a, b.first_position);
  PrefillState<kChunks> state{dev::minus_infinity(), 0.0F, {}};
  attend_tokens<C>(a, slice, b, first, seen, state);
  store_query(a, slice, b.at, state);

  float sum = state.sum;
  for (int d = 4; d > 0; d >>= 1) sum += __shfl_xor_sync(dev::kFullMask, sum, d);
  const bool counts = b.at.query0 + b.at.r < slice.query_count && sum > 0.0F;
  AttentionMass* const mass = all_mass + std::int64_t{blockIdx.z} * a.slices.blocks_per_row;
  for (int token = first; token < b.last; token += kPrefillTokens) {
    __syncthreads();
    stage_tokens<C>(a, slice, b.at.kv_head, token, b.last, false, b.tile, b.head_dim, b.pitch);
    __syncthreads();
    float score[kPrefillTokens / 8];
    score_tokens(a, b.shared.q, b.tile, b.pitch, b.at.c, token, seen, score);
    add_attention(a, score, counts ? state.highest : 0.0F, counts ? 1.0F / sum : 0.0F,
                  token + b.at.c, mass);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
