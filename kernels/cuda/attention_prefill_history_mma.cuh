#pragma once
// Prefill on tensor cores over a history and the residual window behind it: attention_prefill_mma's
// tiles of f16 over two caches. The window's rows are copied in the background; those of the
// history are made f16 on their way to the tile, whatever their format. What left the window was
// f16, so that its range holds them; codes of kivi2 and kivi4 are rounded once more.
#include "kernels/cuda/attention_prefill_history.cuh"
#include "kernels/cuda/attention_prefill_mma.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

VRAMPLAN_DEVICE void store_half(std::byte* to, float x) {
  *reinterpret_cast<std::uint16_t*>(to) = dev::from_f32<F16>(x).bits;
}

/// Packed tiles of the tokens from `first` on as rows of f16; zeros behind the history's end. A
/// thread takes a word: elements that follow each other in a lane.
template <int kBits, int kDim>
VRAMPLAN_DEVICE void widen_packed(const AttentionArguments& old, const Slice& slice, int kv_head,
                                  int first, bool values, std::byte* tile) {
  constexpr int kPerWord = 32 / kBits, kCount = kMmaTokens<kDim> / kTileLanes;
  constexpr int kWords = kDim / kPerWord * kTileLanes;  // of 32 tokens
  constexpr std::uint32_t kMask = (1U << kBits) - 1U;
  const int block_tokens = static_cast<int>(old.kv.block_tokens);
  const int count = values ? kTileLanes : kDim;  // elements of a lane
  for (int n = static_cast<int>(threadIdx.x); n < kCount * kWords; n += kMmaThreads) {
    const int group = n / kWords, token0 = first + kTileLanes * group;
    const int words = count / kPerWord * kTileLanes;
    const int part = n % kWords / words, at = n % words;
    const int element = at / kTileLanes * kPerWord, lane = at % kTileLanes;
    const bool inside = token0 < slice.kv_length;
    const std::int64_t block = slice.blocks[inside ? token0 / block_tokens : 0];
    std::byte* const from = tile_at<kBits>(old.kv, block, kv_head, token0 % block_tokens, values) +
                            part * tile_bytes<kBits>(count);
    const std::uint16_t* const scales = tile_scales<kBits>(from, count) + element;
    const std::uint32_t word = inside ? reinterpret_cast<const std::uint32_t*>(from)[at] : 0U;
    for (int i = 0; i < kPerWord; ++i) {
      float x = 0.0F;
      if (inside) {
        const auto code = static_cast<float>((word >> code_shift<kBits>(i)) & kMask);
        x = code * dev::to_f32(F16{scales[i]}) + dev::to_f32(F16{scales[count + i]});
      }
      const int token = kTileLanes * group + (values ? element + i : lane);
      const int d = values ? part * kTileLanes + lane : element + i;
      store_half(tile + swizzled<F16, kDim>(token, 2 * d), x);
    }
  }
}

/// Rows of any format as rows of f16, eight elements a thread.
template <class H, int kDim>
VRAMPLAN_DEVICE void widen_rows(const AttentionArguments& old, const Slice& slice, int kv_head,
                                int first, bool values, std::byte* tile) {
  constexpr int kEights = kDim / 8;
  for (int n = static_cast<int>(threadIdx.x); n < kMmaTokens<kDim> * kEights; n += kMmaThreads) {
    const int t = n / kEights, d = n % kEights * 8;
    float v[8] = {};
    if (first + t < slice.kv_length) {
      const TokenPlace place = token_place<H>(old, slice, first + t, kv_head);
      load_row<H>(old.kv.base + (values ? place.value : place.key), kDim, d, v);
    }
    dev::store(tile + swizzled<F16, kDim>(t, 2 * d),
               dev::U4{dev::pack2<F16>(v[0], v[1]), dev::pack2<F16>(v[2], v[3]),
                       dev::pack2<F16>(v[4], v[5]), dev::pack2<F16>(v[6], v[7])});
  }
}

/// Grid: query tiles, heads, slices. `a`: of the window, in f16; `old`: of the history, whose
/// kv_length every query sees.
template <class H, int kDim>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    attention_prefill_history_mma_kernel(AttentionArguments a, AttentionArguments old) {
  VRAMPLAN_DYNAMIC_SHARED(std::byte, memory);
  const Slice slice = slice_at(a, blockIdx.z), behind = slice_at(old, blockIdx.z);
  const MmaBlock b = mma_block(a, slice);
  if (b.query0 >= slice.query_count) return;  // the whole block
  const MmaTiles tiles = mma_tiles<F16, F16, kDim>(memory);
  RowState<kDim> state;
  clear(state);
  stage_block_queries<F16, kDim>(a, slice, b, a.q, tiles.queries);
  MmaBlock after = b;  // every query is behind the whole history
  after.first_position = behind.kv_length;
  const auto stage_history = [&](int token, bool values, std::byte* tile) {
    if constexpr (kPackedBits < H >> 0) {
      widen_packed<kPackedBits<H>, kDim>(old, behind, b.kv_head, token, values, tile);
    } else {
      widen_rows<H, kDim>(old, behind, b.kv_head, token, values, tile);
    }
  };
  if (behind.kv_length > 0) {
    attend_span<F16, F16, kDim>(
        a, after, tiles, {0, behind.kv_length, 0, true}, stage_history, [] {}, state);
  }
  const TokenSpan window{0, dev::least(b.first_position + kMmaQueries, slice.kv_length), 0, false};
  attend_span<F16, F16, kDim>(
      a, b, tiles, window,
      [&](int token, bool values, std::byte* tile) {
        stage_rows<F16, kDim>(a, slice, b.kv_head, token, kMmaTokens<kDim>, window.end, values,
                              tile, static_cast<int>(threadIdx.x), kMmaThreads);
      },
      [] {}, state);
  store_query_rows(a, slice, b.query0 + b.row0, b.head, state);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
