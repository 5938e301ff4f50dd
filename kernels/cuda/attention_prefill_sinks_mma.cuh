#pragma once
// Prefill on tensor cores with sinks: attention_prefill_mma's tiles over two spans, the sinks with
// the queries' second rotation and then the window with the first.
#include "kernels/cuda/attention_prefill_mma.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

template <class T, class C, int kDim>
constexpr std::size_t sinks_mma_shared_bytes() {
  return prefill_mma_shared_bytes<T, C, kDim>() + kMmaQueries * kDim * sizeof(T);
}

/// Grid: query tiles, heads, slices.
template <class T, class C, int kDim>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_prefill_sinks_mma_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(std::byte, memory);
  const Slice slice = slice_at(a, blockIdx.z);
  const MmaBlock b = mma_block(a, slice);
  if (b.query0 >= slice.query_count) return;  // the whole block
  const MmaTiles tiles = mma_tiles<T, C, kDim>(memory);
  MmaTiles of_sinks = tiles;
  of_sinks.queries = tiles.values + kMmaTokens<kDim> * kDim * sizeof(C);
  const int last = dev::least(b.first_position + kMmaQueries, slice.kv_length);
  const TokenSpan window{dev::most(first_visible(a, b.first_position), a.sinks), last, a.sinks,
                         false};
  const TokenSpan sinks{0, dev::least(a.sinks, last), 0, true};
  AttentionArguments whole = a;  // no window hides a sink
  whole.window = 0;
  const auto stage_of = [&](const TokenSpan& span) {
    return [&](int token, bool values, std::byte* tile) {
      stage_rows<C, kDim>(a, slice, b.kv_head, token, kMmaTokens<kDim>, span.end, values, tile,
                          static_cast<int>(threadIdx.x), kMmaThreads);
    };
  };
  RowState<kDim> state;
  clear(state);
  attend_span<T, C, kDim>(
      whole, b, of_sinks, sinks, stage_of(sinks),
      [&] {
        stage_block_queries<T, kDim>(a, slice, b, a.sink_q, of_sinks.queries);
        stage_block_queries<T, kDim>(a, slice, b, a.q, tiles.queries);
      },
      state);
  if (window.first < window.end) {
    attend_span<T, C, kDim>(
        a, b, tiles, window, stage_of(window), [] {}, state);
  }
  store_query_rows(a, slice, b.query0 + b.row0, b.head, state);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
