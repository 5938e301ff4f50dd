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
  const PrefillBlock b = prefill_block<kChunks>(a, slice, memory);
  if (b.idle(slice)) return;    // the whole block
  float* const sink_q = b.end;  // [16][q_pitch]
  stage_query_tile(a, a.q, slice, b.at, b.q, b.q_pitch);
  stage_query_tile(a, a.sink_q, slice, b.at, sink_q, b.q_pitch);
  const int position = b.position(), sinks = dev::least(a.sinks, b.last);
  const int first = dev::most(first_visible(a, b.first_position), a.sinks);  // may be gone before
  PrefillState<kChunks> state{dev::minus_infinity(), 0.0F, {}};
  PrefillBlock of_sinks = b;
  of_sinks.last = sinks;
  of_sinks.shared.q = sink_q + b.at.r * b.q_pitch;
  attend_tokens<C>(a, slice, of_sinks, 0, {0, dev::least(position, sinks - 1)}, state);
  attend_tokens<C>(a, slice, b, first, {dev::most(first_visible(a, position), a.sinks), position},
                   state);
  store_query(a, slice, b.at, state);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
