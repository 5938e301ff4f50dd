#pragma once
// Decode attention over a history of packed tiles, SIMT. As in attention_decode.cuh a block takes a
// slice, up to kGroup query heads of a KV head and a split, and a warp a tile of 32 tokens at a
// time. Codes stay codes: scales go into the other factor (queries, then probabilities), and the
// zeros give one number a tile and head. For scores a lane is a token, for values a channel: each
// reads words of its own, and a warp whole lines of memory.
#include "kernels/cuda/attention_decode.cuh"
#include "kernels/cuda/packed_tile.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Shared floats: queries, a warp's factors and probabilities, and what the warps merge.
inline std::size_t packed_shared_floats(int group, std::int64_t head_dim, std::int64_t value_dim) {
  return static_cast<std::size_t>(group * head_dim + kDecodeWarps * group * (head_dim + 32) +
                                  kDecodeWarps * group * (value_dim + 2));
}

/// sum[g] = sum over i of x[g][i] * element(i, lane) of the tile; x: [kGroup][stride], shared or
/// the warp's own. factors: [kGroup][count] of the warp.
template <int kBits, int kGroup>
VRAMPLAN_DEVICE void tile_sums(std::byte* tile, int count, const float* x, int stride,
                               float* factors, float (&sum)[kGroup]) {
  constexpr int kPerWord = 32 / kBits;
  constexpr std::uint32_t kMask = (1U << kBits) - 1U;
  const std::uint16_t* const scales = tile_scales<kBits>(tile, count);
  float constant[kGroup] = {};
  for (int i = dev::lane(); i < count; i += 32) {
    const float scale = dev::to_f32(F16{scales[i]}), zero = dev::to_f32(F16{scales[count + i]});
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      const float factor = x[g * stride + i];
      factors[g * count + i] = factor * scale;
      constant[g] += factor * zero;
    }
  }
  __syncwarp();
#pragma unroll
  for (int g = 0; g < kGroup; ++g) sum[g] = dev::warp_sum(constant[g]);
  const auto* words = reinterpret_cast<const std::uint32_t*>(tile) + dev::lane();
  for (int first = 0; first < count; first += kPerWord, words += kTileLanes) {
    const std::uint32_t word = *words;
#pragma unroll
    for (int i = 0; i < kPerWord; ++i) {
      const auto code = static_cast<float>((word >> code_shift<kBits>(i)) & kMask);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) sum[g] += factors[g * count + first + i] * code;
    }
  }
  __syncwarp();  // the factors may be written again
}

/// A warp's running softmax: value[g][part] is channel 32 part + lane.
template <int kGroup, int kParts>
struct PackedState {
  float highest[kGroup], sum[kGroup];
  float value[kGroup][kParts];
};

template <int kBits, int kGroup, int kParts>
VRAMPLAN_DEVICE void read_tile(const AttentionArguments& a, const Slice& slice, int tile,
                               int kv_head, const float* q, float* factors, float* p,
                               PackedState<kGroup, kParts>& state) {
  const int block_tokens = static_cast<int>(a.kv.block_tokens), token = tile * kTileLanes;
  const std::int64_t block = slice.blocks[token / block_tokens];
  const std::int64_t offset = token % block_tokens;
  const int head_dim = static_cast<int>(a.kv.head_dim);
  float dot[kGroup];
  tile_sums<kBits>(tile_at<kBits>(a.kv, block, kv_head, offset, false), head_dim, q, head_dim,
                   factors, dot);
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    const float score = scaled_score(a, dot[g]);
    const float highest = dev::most(state.highest[g], dev::warp_max(score));
    const float correction = dev::exp2(state.highest[g] - highest);
    const float probability = dev::exp2(score - highest);
    state.highest[g] = highest;
    state.sum[g] = state.sum[g] * correction + probability;
#pragma unroll
    for (int part = 0; part < kParts; ++part) state.value[g][part] *= correction;
    p[g * 32 + dev::lane()] = probability;  // each lane reads its own again
  }
  std::byte* const values = tile_at<kBits>(a.kv, block, kv_head, offset, true);
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    if (part * kTileLanes >= a.kv.value_dim) break;
    float sum[kGroup];
    tile_sums<kBits>(values + part * tile_bytes<kBits>(kTileLanes), kTileLanes, p, 32, factors,
                     sum);
#pragma unroll
    for (int g = 0; g < kGroup; ++g) state.value[g][part] += sum[g];
  }
}

/// Grid: splits, kv heads x groups, slices. Slices hold the rows of their history as kv_length.
template <int kBits, int kGroup, int kParts>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_packed_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(float, memory);
  const int head_dim = static_cast<int>(a.kv.head_dim), dim = static_cast<int>(a.kv.value_dim);
  const DecodePart part = decode_part<kGroup>(a);
  const Slice slice = slice_at(a, part.slice_index);
  if (slice.query_count == 0) return;                     // the whole block
  float* q = memory;                                      // [kGroup][head_dim]
  float* factors = q + kGroup * head_dim;                 // [warps][kGroup][head_dim]
  float* p = factors + kDecodeWarps * kGroup * head_dim;  // [warps][kGroup][32]
  float* merged = p + kDecodeWarps * kGroup * 32;         // [warps][kGroup][dim + 2]
  stage_decode_queries<kGroup>(a, slice, part, q);
  __syncthreads();

  const int tiles = slice.kv_length / kTileLanes, each = (tiles + a.splits - 1) / a.splits;
  const int end = dev::least((part.split + 1) * each, tiles);
  PackedState<kGroup, kParts> state{};
#pragma unroll
  for (int g = 0; g < kGroup; ++g) state.highest[g] = dev::minus_infinity();
  for (int tile = part.split * each + dev::warp(); tile < end; tile += kDecodeWarps) {
    read_tile<kBits>(a, slice, tile, part.kv_head, q, factors + dev::warp() * kGroup * head_dim,
                     p + dev::warp() * kGroup * 32, state);
  }

  float* mine = merged + dev::warp() * kGroup * (dim + 2);
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    const float sum = dev::warp_sum(state.sum[g]);
    if (dev::lane() == 0) {
      mine[g * (dim + 2) + dim] = state.highest[g];
      mine[g * (dim + 2) + dim + 1] = sum;
    }
#pragma unroll
    for (int n = 0; n < kParts; ++n) {
      const int d = n * kTileLanes + dev::lane();
      if (d < dim) mine[g * (dim + 2) + d] = state.value[g][n];
    }
  }
  __syncthreads();
  merge_warps(a, slice, part, merged);
}

/// Merges the splits of a history and of the window behind it. Grid: heads, slices.
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    attention_combine_two_kernel(AttentionArguments recent, const float* history, int splits) {
  const AttentionArguments& a = recent;
  const int head = static_cast<int>(blockIdx.x), slice_index = static_cast<int>(blockIdx.y);
  const Slice slice = slice_at(a, slice_index);
  if (slice.query_count == 0) return;
  const int dim = static_cast<int>(a.kv.value_dim);
  const std::int64_t row = std::int64_t{slice_index} * a.heads + head;
  const float* old = history + row * splits * (dim + 2);
  const float* newest = a.workspace + row * a.splits * (dim + 2);
  const auto part_of = [&](int s) {
    return s < splits ? old + s * (dim + 2) : newest + (s - splits) * (dim + 2);
  };
  const int all = splits + a.splits;
  float highest = dev::minus_infinity();
  for (int s = 0; s < all; ++s) highest = dev::most(highest, part_of(s)[dim]);
  for (int d = static_cast<int>(threadIdx.x); d < dim; d += static_cast<int>(blockDim.x)) {
    float value = 0.0F, sum = 0.0F;
    for (int s = 0; s < all; ++s) {
      const float* part = part_of(s);
      if (part[dim] == dev::minus_infinity()) continue;  // an empty split
      const float weight = dev::exp2(part[dim] - highest);
      value += weight * part[d];
      sum += weight * part[dim + 1];
    }
    dev::store_as(a.dtype, a.out, (slice.query_begin * a.heads + head) * dim + d,
                  sum > 0.0F ? value / sum : 0.0F);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
