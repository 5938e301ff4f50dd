#pragma once
// Tiles in shared memory for tensor-core attention: rows of kDim elements whose 16-byte chunks are
// XOR-swizzled by the row, so that ldmatrix reads eight rows without bank conflicts; and the
// fragments of mma.m16n8k16 out of them. T is the element that is multiplied (F16 or BF16); C that
// of the cache (T, or F8, which is widened to F16 on the way into registers).
#include <type_traits>

#include "kernels/cuda/attention.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Byte offset of `byte` in row `row`.
template <class C, int kDim>
VRAMPLAN_DEVICE int swizzled(int row, int byte) {
  constexpr int kRowBytes = kDim * static_cast<int>(sizeof(C)), kChunks = kRowBytes / 16;
  constexpr int kMask = kChunks < 8 ? kChunks - 1 : 7;
  return row * kRowBytes + (((byte / 16) ^ (row & kMask)) * 16) + byte % 16;
}

/// Copies K or V of tokens [first, first + count) to a tile in the background, `threads` threads
/// from `thread`; zeros from `end` on.
template <class C, int kDim>
VRAMPLAN_DEVICE void stage_rows(const AttentionArguments& a, const Slice& slice, int kv_head,
                                int first, int count, int end, bool values, std::byte* tile,
                                int thread, int threads) {
  constexpr int kChunks = kDim * static_cast<int>(sizeof(C)) / 16;
  for (int i = thread; i < count * kChunks; i += threads) {
    const int t = i / kChunks, chunk = i % kChunks;
    const bool inside = first + t < end;
    const std::byte* from = a.kv.base;
    if (inside) {
      const TokenPlace place = token_place<C>(a, slice, first + t, kv_head);
      from += (values ? place.value : place.key) + 16 * chunk;
    }
    dev::copy16_async(tile + swizzled<C, kDim>(t, 16 * chunk), from, inside);
  }
}

/// Rows of `q` (as a.dtype says) as T in a tile. row_of(r) is the offset of row r in elements, or
/// below 0 for zeros.
template <class T, int kDim, class RowOf>
VRAMPLAN_DEVICE void stage_queries(const AttentionArguments& a, const void* q, int rows,
                                   std::byte* tile, RowOf row_of) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * kDim / 2;
       i += static_cast<int>(blockDim.x)) {
    const int r = i / (kDim / 2), d = i % (kDim / 2) * 2;
    const std::int64_t at = row_of(r);
    const float low = at < 0 ? 0.0F : dev::load_as(a.dtype, q, at + d);
    const float high = at < 0 ? 0.0F : dev::load_as(a.dtype, q, at + d + 1);
    dev::store(tile + swizzled<T, kDim>(r, 2 * d), dev::pack2<T>(low, high));
  }
}

/// A fragment: rows row0..row0+15, elements k..k+15 of a tile of T.
template <class T, int kDim>
VRAMPLAN_DEVICE void load_a(const std::byte* tile, int row0, int k, std::uint32_t (&fragment)[4]) {
  const int lane = dev::lane(), matrix = lane / 8;
  const int row = row0 + lane % 8 + 8 * (matrix % 2);
  dev::load_matrices(fragment, tile + swizzled<T, kDim>(row, 2 * (k + 8 * (matrix / 2))));
}

/// B fragments of K for 16 tokens from token0 and dimensions k..k+15: [0], [1] for the first eight
/// tokens, [2], [3] for the others.
template <class C, int kDim>
VRAMPLAN_DEVICE void load_key_b(const std::byte* tile, int token0, int k,
                                std::uint32_t (&fragment)[4]) {
  const int lane = dev::lane();
  if constexpr (std::is_same_v<C, F8>) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int token = token0 + 8 * half + lane / 4, d = k + 2 * (lane % 4);
      const auto low = dev::load<std::uint16_t>(tile + swizzled<C, kDim>(token, d));
      const auto high = dev::load<std::uint16_t>(tile + swizzled<C, kDim>(token, d + 8));
      const dev::U2 wide = dev::f8x4_to_f16x4(static_cast<std::uint32_t>(low) |
                                              static_cast<std::uint32_t>(high) << 16);
      fragment[2 * half] = wide.x;
      fragment[2 * half + 1] = wide.y;
    }
  } else {
    const int matrix = lane / 8, token = token0 + 8 * (matrix / 2) + lane % 8;
    dev::load_matrices(fragment, tile + swizzled<C, kDim>(token, 2 * (k + 8 * (matrix % 2))));
  }
}

/// B fragments of V for tokens token0..token0+15 and 16 dimensions from d0: [0], [1] for the first
/// eight dimensions, [2], [3] for the others.
template <class C, int kDim>
VRAMPLAN_DEVICE void load_value_b(const std::byte* tile, int token0, int d0,
                                  std::uint32_t (&fragment)[4]) {
  const int lane = dev::lane();
  if constexpr (std::is_same_v<C, F8>) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int d = d0 + 8 * half + lane / 4, token = token0 + 2 * (lane % 4);
      std::uint32_t bytes = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {  // tokens +0, +1, +8, +9
        const int t = token + i % 2 + 8 * (i / 2);
        bytes |= static_cast<std::uint32_t>(tile[swizzled<C, kDim>(t, d)]) << (8 * i);
      }
      const dev::U2 wide = dev::f8x4_to_f16x4(bytes);
      fragment[2 * half] = wide.x;
      fragment[2 * half + 1] = wide.y;
    }
  } else {
    const int matrix = lane / 8, token = token0 + 8 * (matrix % 2) + lane % 8;
    dev::load_matrices_transposed(fragment,
                                  tile + swizzled<C, kDim>(token, 2 * (d0 + 8 * (matrix / 2))));
  }
}

/// Running softmax of two rows of a warp's 16: lane l holds rows l / 4 and l / 4 + 8.
template <int kDim>
struct RowState {
  float highest[2], sum[2];  // sum: this lane's part
  float value[kDim / 8][4];
};

/// Scores of 16 rows against kTokens tokens of a K tile.
template <class T, class C, int kDim, int kTokens>
VRAMPLAN_DEVICE void score_rows(const std::byte* queries, int row0, const std::byte* keys,
                                float (&score)[kTokens / 8][4]) {
#pragma unroll
  for (int k = 0; k < kDim; k += 16) {
    std::uint32_t q[4];
    load_a<T, kDim>(queries, row0, k, q);
#pragma unroll
    for (int n = 0; n < kTokens / 16; ++n) {
      std::uint32_t b[4];
      load_key_b<C, kDim>(keys, 16 * n, k, b);
      dev::multiply_tile<T>(score[2 * n], q, b[0], b[1]);
      dev::multiply_tile<T>(score[2 * n + 1], q, b[2], b[3]);
    }
  }
}

/// Scores become probabilities, and what was summed so far is rescaled. Scores are in log2 units;
/// hidden ones are -infinity.
template <int kDim, int kTokens>
VRAMPLAN_DEVICE void soften(float (&score)[kTokens / 8][4], RowState<kDim>& state) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float highest = state.highest[half];
#pragma unroll
    for (int n = 0; n < kTokens / 8; ++n) {
      highest = dev::most(highest, dev::most(score[n][2 * half], score[n][2 * half + 1]));
    }
    for (int d = 2; d > 0; d >>= 1) {  // over the four lanes of a row
      highest = dev::most(highest, __shfl_xor_sync(dev::kFullMask, highest, d));
    }
    // Nothing visible yet: any finite reference keeps exp2(-inf - reference) at 0.
    const float reference = highest == dev::minus_infinity() ? 0.0F : highest;
    const float correction = dev::exp2(state.highest[half] - reference);
    state.highest[half] = highest;
    float part = 0.0F;
#pragma unroll
    for (int n = 0; n < kTokens / 8; ++n) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float p = dev::exp2(score[n][2 * half + e] - reference);
        score[n][2 * half + e] = p;
        part += p;
      }
    }
    state.sum[half] = state.sum[half] * correction + part;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      state.value[n][2 * half] *= correction;
      state.value[n][2 * half + 1] *= correction;
    }
  }
}

/// value += probabilities [16 x kTokens] * V tile. The C fragment of two score tiles is the A
/// fragment of one step of 16 tokens.
template <class T, class C, int kDim, int kTokens>
VRAMPLAN_DEVICE void add_value_rows(const float (&p)[kTokens / 8][4], const std::byte* values,
                                    RowState<kDim>& state) {
#pragma unroll
  for (int k = 0; k < kTokens / 16; ++k) {
    const std::uint32_t a[4] = {dev::pack2<T>(p[2 * k][0], p[2 * k][1]),
                                dev::pack2<T>(p[2 * k][2], p[2 * k][3]),
                                dev::pack2<T>(p[2 * k + 1][0], p[2 * k + 1][1]),
                                dev::pack2<T>(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
    for (int n = 0; n < kDim / 16; ++n) {
      std::uint32_t b[4];
      load_value_b<C, kDim>(values, 16 * k, 16 * n, b);
      dev::multiply_tile<T>(state.value[2 * n], a, b[0], b[1]);
      dev::multiply_tile<T>(state.value[2 * n + 1], a, b[2], b[3]);
    }
  }
}

/// The sums of both rows over the four lanes that share them.
template <int kDim>
VRAMPLAN_DEVICE void finish_sums(RowState<kDim>& state) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    for (int d = 2; d > 0; d >>= 1) {
      state.sum[half] += __shfl_xor_sync(dev::kFullMask, state.sum[half], d);
    }
  }
}

template <int kDim>
VRAMPLAN_DEVICE void clear(RowState<kDim>& state) {
#pragma unroll
  for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) state.value[n][e] = 0.0F;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    state.highest[half] = dev::minus_infinity();
    state.sum[half] = 0.0F;
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
