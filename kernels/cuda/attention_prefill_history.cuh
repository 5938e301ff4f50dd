#pragma once
// Tiled attention of many queries over a history and the residual window behind it, SIMT, as
// attention_prefill.cuh: first the history's tiles, which every query sees whole, then the
// window's. `H` is the element or tag of the history's rows, or KvPacked<kBits> for tiles of kivi2
// and kivi4.
#include "kernels/cuda/attention_prefill.cuh"
#include "kernels/cuda/packed_tile.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

template <int kBits>
struct KvPacked {};

/// A tile of 32 packed tokens from `first` on as f32 in shared memory [32][pitch]. Of values the
/// columns from the width up to `padded` get zeros.
template <int kBits>
VRAMPLAN_DEVICE void stage_packed(const AttentionArguments& a, const Slice& slice, int kv_head,
                                  int first, bool values, float* to, int padded, int pitch) {
  constexpr int kPerWord = 32 / kBits;
  constexpr std::uint32_t kMask = (1U << kBits) - 1U;
  const int block_tokens = static_cast<int>(a.kv.block_tokens);
  const int width = static_cast<int>(values ? a.kv.value_dim : a.kv.head_dim);
  // Elements of one tile: the channels of K; the tokens of V, in a tile of its own for 32 channels.
  const int count = values ? kTileLanes : width;
  const int words = count / kPerWord * kTileLanes, tiles = values ? width / kTileLanes : 1;
  std::byte* const tile0 = tile_at<kBits>(a.kv, slice.blocks[first / block_tokens], kv_head,
                                          first % block_tokens, values);
  for (int n = static_cast<int>(threadIdx.x); n < words * tiles; n += kPrefillThreads) {
    const int part = n / words, element = n % words / kTileLanes * kPerWord;
    const int lane = n % kTileLanes;
    std::byte* const tile = tile0 + part * tile_bytes<kBits>(count);
    const std::uint16_t* const scales = tile_scales<kBits>(tile, count) + element;
    const std::uint32_t word = reinterpret_cast<const std::uint32_t*>(tile)[n % words];
    for (int i = 0; i < kPerWord; ++i) {
      const auto code = static_cast<float>((word >> code_shift<kBits>(i)) & kMask);
      const float x = code * dev::to_f32(F16{scales[i]}) + dev::to_f32(F16{scales[count + i]});
      const int token = values ? element + i : lane;
      to[token * pitch + (values ? part * kTileLanes + lane : element + i)] = x;
    }
  }
  if (!values) return;
  for (int n = static_cast<int>(threadIdx.x); n < kTileLanes * (padded - width);
       n += kPrefillThreads) {
    to[n / (padded - width) * pitch + width + n % (padded - width)] = 0.0F;
  }
}

template <class H>
inline constexpr int kPackedBits = 0;
template <int kBits>
inline constexpr int kPackedBits<KvPacked<kBits>> = kBits;

/// K or V of 32 tokens of the history from `first` on, which ends at slice.kv_length.
template <class H>
VRAMPLAN_DEVICE void stage_history(const AttentionArguments& a, const Slice& slice, int kv_head,
                                   int first, bool values, float* to, int padded, int pitch) {
  if constexpr (kPackedBits < H >> 0) {
    stage_packed<kPackedBits<H>>(a, slice, kv_head, first, values, to, padded, pitch);
  } else {
    stage_tokens<H>(a, slice, kv_head, first, slice.kv_length, values, to, padded, pitch);
  }
}

/// Grid: query tiles, heads, slices. `a`: of the window, in f16; `old`: of the history.
template <class H, int kChunks>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    attention_prefill_history_kernel(AttentionArguments a, AttentionArguments old) {
  VRAMPLAN_DYNAMIC_SHARED(float, memory);
  const Slice slice = slice_at(a, blockIdx.z), behind = slice_at(old, blockIdx.z);
  const PrefillBlock b = prefill_block<kChunks>(a, slice, memory);
  if (b.idle(slice)) return;  // the whole block
  stage_query_tile(a, a.q, slice, b.at, b.q, b.q_pitch);
  PrefillState<kChunks> state{dev::minus_infinity(), 0.0F, {}};
  for (int token = 0; token < behind.kv_length; token += kPrefillTokens) {
    const auto stage = [&](bool values) {
      stage_history<H>(old, behind, b.at.kv_head, token, values, b.tile,
                       values ? 32 * kChunks : b.head_dim, b.pitch);
    };
    attend_tile(a, b.shared, token, {0, behind.kv_length - 1}, stage, state);
  }
  attend_tokens<F16>(a, slice, b, 0, {0, b.position()}, state);
  store_query(a, slice, b.at, state);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
