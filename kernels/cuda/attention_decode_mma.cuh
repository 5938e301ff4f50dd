#pragma once
// Paged decode attention on tensor cores (mma.m16n8k16, sm_80 and later): up to 16 query heads of
// one kv head are the 16 rows of a tile. Each warp walks tiles of 16 tokens of its own with a ring
// of kRing buffers filled by cp.async, so only warps, not the block, wait for each other.
#include "kernels/cuda/attention_decode.cuh"
#include "kernels/cuda/tensor_tiles.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr int kMmaHeads = 16, kMmaTile = 16, kRing = 2;

template <class T, class C, int kDim>
constexpr std::size_t decode_mma_shared_bytes() {
  constexpr std::size_t kStaged = kDecodeWarps * kRing * 2 * kMmaTile * kDim * sizeof(C);
  constexpr std::size_t kMerged = kDecodeWarps * kMmaHeads * (kDim + 2) * sizeof(float);
  return kMmaHeads * kDim * sizeof(T) + (kStaged > kMerged ? kStaged : kMerged);
}

/// A warp's rows into `merged` [kMmaHeads][kDim + 2] of this warp.
template <int kDim>
VRAMPLAN_DEVICE void store_rows(RowState<kDim>& state, float* merged) {
  finish_sums(state);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float* row = merged + (dev::lane() / 4 + 8 * half) * (kDim + 2);
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      row[8 * n + 2 * (dev::lane() % 4)] = state.value[n][2 * half];
      row[8 * n + 2 * (dev::lane() % 4) + 1] = state.value[n][2 * half + 1];
    }
    if (dev::lane() % 4 == 0) {
      row[kDim] = state.highest[half];
      row[kDim + 1] = state.sum[half];
    }
  }
}

/// Grid: splits, kv heads x groups of 16 heads, slices.
template <class T, class C, int kDim>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_decode_mma_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(std::byte, memory);
  constexpr int kTileBytes = kMmaTile * kDim * static_cast<int>(sizeof(C));
  const DecodePart part = decode_part<kMmaHeads>(a);
  const Slice slice = slice_at(a, part.slice_index);
  if (slice.query_count == 0) return;  // the whole block
  std::byte* queries = memory;
  std::byte* staged = memory + kMmaHeads * kDim * sizeof(T);
  std::byte* ring = staged + dev::warp() * kRing * 2 * kTileBytes;  // of this warp: K, V, K, V
  const TokenRange range = split_range(a, slice.kv_length, part.split);
  const int begin = range.begin + kMmaTile * dev::warp(), stride = kMmaTile * kDecodeWarps;
  const auto stage = [&](int token, int slot) {
    if (token < range.end) {
      std::byte* tile = ring + slot * 2 * kTileBytes;
      stage_rows<C, kDim>(a, slice, part.kv_head, token, kMmaTile, range.end, false, tile,
                          dev::lane(), 32);
      stage_rows<C, kDim>(a, slice, part.kv_head, token, kMmaTile, range.end, true,
                          tile + kTileBytes, dev::lane(), 32);
    }
    dev::copy_commit();  // also when empty: waits count groups
  };
  stage(begin, 0);
  stage_queries<T, kDim>(a, a.q, kMmaHeads, queries, [&](int r) -> std::int64_t {
    return r < part.used ? (slice.query_begin * a.heads + part.head0 + r) * kDim : -1;
  });
  __syncthreads();
  RowState<kDim> state;
  clear(state);
  int slot = 0;
  for (int token = begin; token < range.end; token += stride) {
    stage(token + stride, slot ^ 1);
    dev::copy_wait<1>();
    __syncwarp();  // what the other lanes copied
    const std::byte* tile = ring + slot * 2 * kTileBytes;
    float score[kMmaTile / 8][4] = {};
    score_rows<T, C, kDim, kMmaTile>(queries, 0, tile, score);
#pragma unroll
    for (int n = 0; n < kMmaTile / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int at = token + 8 * n + 2 * (dev::lane() % 4) + e % 2;
        score[n][e] = at < range.end ? scaled_score(a, score[n][e]) : dev::minus_infinity();
      }
    }
    soften<kDim, kMmaTile>(score, state);
    add_value_rows<T, C, kDim, kMmaTile>(score, tile + kTileBytes, state);
    __syncwarp();  // all lanes have read the tile that is filled next
    slot ^= 1;
  }
  __syncthreads();  // the buffers become the place of the results
  auto* merged = reinterpret_cast<float*>(staged);
  store_rows(state, merged + dev::warp() * kMmaHeads * (kDim + 2));
  __syncthreads();
  merge_warps(a, slice, part, merged);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
