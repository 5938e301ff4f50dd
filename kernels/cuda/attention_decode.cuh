#pragma once
// Paged decode attention, SIMT: one query a slice. A block takes one slice, up to kGroup query
// heads of one kv head (so K and V are read once for all of them) and one split of the context. A
// warp takes 32 tokens at a time: for scores each lane owns a token, for the weighted sum each lane
// owns kDims dimensions. Online softmax (Milakov and Gimelshein 2018); splits merge by log-sum-exp
// (flash-decoding).
#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr int kDecodeWarps = 4;

/// Shared floats of the decode kernel: queries, probabilities, and what the warps merge.
inline std::size_t decode_shared_floats(int group, std::int64_t head_dim, std::int64_t value_dim) {
  return static_cast<std::size_t>(group * head_dim + kDecodeWarps * group * 32 +
                                  kDecodeWarps * group * (value_dim + 2));
}

struct TokenRange {
  int begin, end;
};
/// The tokens of one split: equal parts of the visible context in whole tiles of 32.
VRAMPLAN_DEVICE TokenRange split_range(const AttentionArguments& a, int length, int split) {
  const int last = a.end > 0 ? dev::least(a.end, length) : length;
  const int first = dev::least(dev::most(first_visible(a, length - 1), a.begin), last);
  const int tiles = (last - first + 31) / 32;
  const int each = (tiles + a.splits - 1) / a.splits * 32;
  const int begin = first + split * each;
  return {dev::least(begin, last), dev::least(begin + each, last)};
}

/// A warp's running softmax over its tokens, for kGroup heads.
template <int kGroup, int kDims>
struct DecodeState {
  float highest[kGroup], sum[kGroup];  // sum: this lane's part
  float value[kGroup][kDims];
};

/// Scores of this lane's token (all heads), probabilities into `p` [kGroup][32] of the warp.
template <class C, int kGroup, int kDims>
VRAMPLAN_DEVICE void score_tile(const AttentionArguments& a, const float* q, const std::byte* key,
                                bool inside, float* p, DecodeState<kGroup, kDims>& state) {
  const int head_dim = static_cast<int>(a.kv.head_dim);
  float dot[kGroup] = {};
  if (inside) {
    for (int d = 0; d < head_dim; d += 8) {
      float k[8];
      load_row<C>(key, head_dim, d, k);
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        const auto low = dev::load<dev::F4>(q + g * head_dim + d);
        const auto high = dev::load<dev::F4>(q + g * head_dim + d + 4);
        dot[g] += k[0] * low.x + k[1] * low.y + k[2] * low.z + k[3] * low.w;
        dot[g] += k[4] * high.x + k[5] * high.y + k[6] * high.z + k[7] * high.w;
      }
    }
  }
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    const float score = inside ? scaled_score(a, dot[g]) : dev::minus_infinity();
    const float highest = dev::most(state.highest[g], dev::warp_max(score));
    const float correction = dev::exp2(state.highest[g] - highest);
    const float probability = dev::exp2(score - highest);
    state.highest[g] = highest;
    state.sum[g] = state.sum[g] * correction + probability;
#pragma unroll
    for (int i = 0; i < kDims; ++i) state.value[g][i] *= correction;
    p[g * 32 + dev::lane()] = probability;
  }
}

/// Adds probability * V of `count` tokens; lane l knows the place of token l.
template <class C, int kGroup, int kDims>
VRAMPLAN_DEVICE void add_values(const AttentionArguments& a, const float* p, std::int64_t place,
                                int count, DecodeState<kGroup, kDims>& state) {
  const int d = dev::lane() * kDims;
  const bool mine = d < a.kv.value_dim;
  for (int t = 0; t < count; ++t) {
    const std::int64_t at = __shfl_sync(dev::kFullMask, place, t);
    if (!mine) continue;
    float v[kDims];
    load_row<C>(a.kv.base + at, a.kv.value_dim, d, v);
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      const float probability = p[g * 32 + t];
#pragma unroll
      for (int i = 0; i < kDims; ++i) state.value[g][i] += probability * v[i];
    }
  }
}

/// One output row of value_dim elements: the result itself, or the partial result of a split:
/// value_dim unnormalised sums, then the highest score and the sum of probabilities.
VRAMPLAN_DEVICE void store_decode(const AttentionArguments& a, const Slice& slice, int slice_index,
                                  int head, int split, int d, float value, float highest,
                                  float sum) {
  const std::int64_t dim = a.kv.value_dim;
  if (a.splits == 1) {
    const float result = sum > 0.0F ? value / sum : 0.0F;
    dev::store_as(a.dtype, a.out, (slice.query_begin * a.heads + head) * dim + d, result);
    return;
  }
  float* row =
      a.workspace + ((std::int64_t{slice_index} * a.heads + head) * a.splits + split) * (dim + 2);
  row[d] = value;
  if (d == 0) {
    row[dim] = highest;
    row[dim + 1] = sum;
  }
}

/// Which part of the work a block of the decode kernels has.
struct DecodePart {
  int slice_index, head0, used, split, group;  // `used` of `group` rows are heads
  int kv_head;
};

/// The part of this block. Grid: splits, kv heads x groups of up to kGroup heads, slices.
template <int kGroup>
VRAMPLAN_DEVICE DecodePart decode_part(const AttentionArguments& a) {
  const int heads_per_kv = static_cast<int>(a.heads / a.kv.kv_heads);
  const int groups = (heads_per_kv + kGroup - 1) / kGroup;
  const int kv_head = static_cast<int>(blockIdx.y) / groups;
  const int first_of_group = static_cast<int>(blockIdx.y) % groups * kGroup;
  return {static_cast<int>(blockIdx.z),
          kv_head * heads_per_kv + first_of_group,
          dev::least(kGroup, heads_per_kv - first_of_group),
          static_cast<int>(blockIdx.x),
          kGroup,
          kv_head};
}

/// Its heads' queries to shared memory [kGroup][head_dim]; unused rows repeat the last head.
template <int kGroup>
VRAMPLAN_DEVICE void stage_decode_queries(const AttentionArguments& a, const Slice& slice,
                                          const DecodePart& part, float* q) {
  const int head_dim = static_cast<int>(a.kv.head_dim);
  for (int i = static_cast<int>(threadIdx.x); i < kGroup * head_dim; i += 32 * kDecodeWarps) {
    const int head = part.head0 + dev::least(i / head_dim, part.used - 1);
    q[i] =
        dev::load_as(a.dtype, a.q, (slice.query_begin * a.heads + head) * head_dim + i % head_dim);
  }
}

/// Merges the warps' results in `merged` [warps][group][dim + 2], in order, and stores them.
VRAMPLAN_DEVICE void merge_warps(const AttentionArguments& a, const Slice& slice,
                                 const DecodePart& block, const float* merged) {
  const int dim = static_cast<int>(a.kv.value_dim);
  for (int i = static_cast<int>(threadIdx.x); i < block.used * dim; i += 32 * kDecodeWarps) {
    const int g = i / dim, d = i % dim;
    float highest = dev::minus_infinity(), sum = 0.0F, value = 0.0F;
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) {
      highest = dev::most(highest, merged[(w * block.group + g) * (dim + 2) + dim]);
    }
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) {
      const float* part = merged + (w * block.group + g) * (dim + 2);
      if (part[dim] == dev::minus_infinity()) continue;  // a warp without tokens
      const float weight = dev::exp2(part[dim] - highest);
      value += weight * part[d];
      sum += weight * part[dim + 1];
    }
    store_decode(a, slice, block.slice_index, block.head0 + g, block.split, d, value, highest, sum);
  }
}

/// Grid: splits, kv heads x groups, slices.
template <class C, int kGroup, int kDims>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128) attention_decode_kernel(AttentionArguments a) {
  VRAMPLAN_DYNAMIC_SHARED(float, memory);
  const int head_dim = static_cast<int>(a.kv.head_dim), dim = static_cast<int>(a.kv.value_dim);
  const DecodePart part = decode_part<kGroup>(a);
  const Slice slice = slice_at(a, part.slice_index);
  if (slice.query_count == 0) return;              // the whole block
  float* q = memory;                               // [kGroup][head_dim]
  float* p = q + kGroup * head_dim;                // [warps][kGroup][32]
  float* merged = p + kDecodeWarps * kGroup * 32;  // [warps][kGroup][dim + 2]
  stage_decode_queries<kGroup>(a, slice, part, q);
  __syncthreads();

  const TokenRange range = split_range(a, slice.kv_length, part.split);
  DecodeState<kGroup, kDims> state{};
#pragma unroll
  for (int g = 0; g < kGroup; ++g) state.highest[g] = dev::minus_infinity();
  float* my_p = p + dev::warp() * kGroup * 32;
  for (int tile = range.begin + dev::warp() * 32; tile < range.end; tile += kDecodeWarps * 32) {
    const bool inside = tile + dev::lane() < range.end;
    const TokenPlace place =
        token_place<C>(a, slice, dev::least(tile + dev::lane(), range.end - 1), part.kv_head);
    score_tile<C>(a, q, a.kv.base + place.key, inside, my_p, state);
    __syncwarp();
    add_values<C>(a, my_p, place.value, dev::least(32, range.end - tile), state);
    __syncwarp();
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
    for (int i = 0; i < kDims; ++i) {
      const int d = dev::lane() * kDims + i;
      if (d < dim) mine[g * (dim + 2) + d] = state.value[g][i];
    }
  }
  __syncthreads();
  merge_warps(a, slice, part, merged);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
