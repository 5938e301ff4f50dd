#pragma once
// Tiled attention of many queries that see the first tokens of a sequence beside their window,
// SIMT, as attention_prefill.cuh: first the sinks' tiles, scored with the queries' second rotation,
// then the window's.
#include "kernels/cuda/attention_prefill.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Grid: query tiles, heads, slices. kChunks = ceil(value_dim / 32).
template <class C, int kChunks>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_prefill_sinks_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(float, memory);
  const Slice slice = slice_at(a, blockIdx.z);
  const PrefillPlace at = prefill_place(a);
  if (at.query0 >= slice.query_count) return;  // the whole block
  const int head_dim = static_cast<int>(a.kv.head_dim), q_pitch = head_dim + 4;
  const int pitch = dev::most(head_dim, 32 * kChunks) + 4;
  float* q = memory;                                           // [16][q_pitch]
  float* tile = q + kPrefillQueries * q_pitch;                 // [32][pitch]
  float* p = tile + kPrefillTokens * pitch;                    // [16][33]
  float* sink_q = p + kPrefillQueries * (kPrefillTokens + 1);  // [16][q_pitch]
  PrefillShared shared{q + at.r * q_pitch, tile, p + at.r * (kPrefillTokens + 1), pitch, at.c};
  stage_query_tile(a, a.q, slice, at, q, q_pitch);
  stage_query_tile(a, a.sink_q, slice, at, sink_q, q_pitch);
  const int base = slice.kv_length - slice.query_count;  // position of query 0
  const int last = dev::least(base + at.query0 + kPrefillQueries, slice.kv_length);
  const int position = base + at.query0 + at.r, sinks = dev::least(a.sinks, last);
  const int first = dev::most(first_visible(a, base + at.query0), a.sinks);  // may be gone before
  PrefillState<kChunks> state{dev::minus_infinity(), 0.0F, {}};
  for (int token = sinks > 0 ? 0 : first; token < last;) {
    const bool of_sinks = token < sinks;
    const int end = of_sinks ? sinks : last;
    const auto stage = [&](bool values) {
      stage_tokens<C>(a, slice, at.kv_head, token, end, values, tile,
                      values ? 32 * kChunks : head_dim, pitch);
    };
    shared.q = (of_sinks ? sink_q : q) + at.r * q_pitch;
    const SeenTokens seen{of_sinks ? 0 : dev::most(first_visible(a, position), a.sinks),
                          of_sinks ? dev::least(position, sinks - 1) : position};
    attend_tile(a, shared, token, seen, stage, state);
    token += kPrefillTokens;
    if (of_sinks && token >= sinks) token = first;
  }
  store_query(a, slice, at, state);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
