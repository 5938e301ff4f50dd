#pragma once
// What the attention kernels share: their arguments, positions, and loads of a few elements.
// Scores are kept in units of log2, so that exponentials are exp2.
#include "kernels/cuda/kv_view.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

struct AttentionArguments {
  void* out = nullptr;        // [tokens, heads * value_dim]
  const void* q = nullptr;    // [tokens, heads * head_dim]
  DType dtype = DType::kF32;  // of q and out
  std::int64_t heads = 0;
  KvLayerView kv;
  DeviceSlices slices;
  float scale = 1.0F, cap = 0.0F;
  int window = 0;
  const void* sink_q = nullptr;  // as q: the queries of tokens before `sinks`
  int sinks = 0;
  int begin = 0, end = 0;      // decode: no token before begin, none from end on unless it is 0
  float* workspace = nullptr;  // decode: [slices, heads, splits, value_dim + 2]; naive: scores
  int splits = 1;
};

/// One slice, read from device memory.
struct Slice {
  std::int64_t query_begin;
  int query_count, kv_length;
  const std::int32_t* blocks;
};
VRAMPLAN_DEVICE Slice slice_at(const AttentionArguments& a, std::int64_t index) {
  return {a.slices.query_begin[index], a.slices.query_count[index], a.slices.kv_length[index],
          a.slices.block_tables + index * a.slices.blocks_per_row};
}

/// Score of a dot product, softcap included, times log2(e).
VRAMPLAN_DEVICE float scaled_score(const AttentionArguments& a, float dot) {
  float score = dot * a.scale;
  if (a.cap > 0.0F) score = a.cap * dev::tanh(score / a.cap);
  return score * dev::kLog2e;
}

/// First position that a query at `position` sees.
VRAMPLAN_DEVICE int first_visible(const AttentionArguments& a, int position) {
  return a.window > 0 ? dev::most(0, position - a.window + 1) : 0;
}

/// First token behind the sinks that a query at `position` sees.
VRAMPLAN_DEVICE int first_behind_sinks(const AttentionArguments& a, int position) {
  return dev::most(first_visible(a, position), dev::least(a.sinks, position + 1));
}

/// Byte offsets of a token's K and V rows of kv head 0 from the base of the pool.
struct TokenPlace {
  std::int64_t key, value;
};
template <class C>
VRAMPLAN_DEVICE TokenPlace token_place(const AttentionArguments& a, const Slice& slice, int token,
                                       int kv_head) {
  const int block_tokens = static_cast<int>(a.kv.block_tokens);
  const std::int64_t block = slice.blocks[token / block_tokens];
  const std::int64_t row = std::int64_t{kv_head} * block_tokens + token % block_tokens;
  return {block * a.kv.block_stride + row * row_bytes<C>(a.kv.head_dim),
          block * a.kv.block_stride + a.kv.value_offset + row * row_bytes<C>(a.kv.value_dim)};
}

namespace dev {

template <class C>
VRAMPLAN_DEVICE void unpack(std::uint32_t word, float* v) {  // two 16-bit elements
  C low{static_cast<std::uint16_t>(word)}, high{static_cast<std::uint16_t>(word >> 16)};
  v[0] = to_f32(low);
  v[1] = to_f32(high);
}

/// Four elements at p, aligned to their size.
template <class C>
VRAMPLAN_DEVICE void load4(const C* p, float* v) {
  if constexpr (sizeof(C) == 4) {
    const F4 x = load<F4>(p);
    v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w;
  } else if constexpr (sizeof(C) == 2) {
    const U2 x = load<U2>(p);
    unpack<C>(x.x, v);
    unpack<C>(x.y, v + 2);
  } else {
    const U2 x = f8x4_to_f16x4(load<std::uint32_t>(p));
    unpack<F16>(x.x, v);
    unpack<F16>(x.y, v + 2);
  }
}

/// Eight elements at p, aligned to min(their size, 16).
template <class C>
VRAMPLAN_DEVICE void load8(const C* p, float* v) {
  if constexpr (sizeof(C) == 4) {
    load4<C>(p, v);
    load4<C>(p + 4, v + 4);
  } else if constexpr (sizeof(C) == 2) {
    const U4 x = load<U4>(p);
    unpack<C>(x.x, v);
    unpack<C>(x.y, v + 2);
    unpack<C>(x.z, v + 4);
    unpack<C>(x.w, v + 6);
  } else {
    const U2 x = load<U2>(p);
    const U2 low = f8x4_to_f16x4(x.x), high = f8x4_to_f16x4(x.y);
    unpack<F16>(low.x, v);
    unpack<F16>(low.y, v + 2);
    unpack<F16>(high.x, v + 4);
    unpack<F16>(high.y, v + 6);
  }
}

}  // namespace dev

/// kCount (2, 4 or a multiple of 8) neighbouring elements as f32, aligned to min(their size, 16).
template <class C, int kCount>
VRAMPLAN_DEVICE void load_elements(const void* p, float (&v)[kCount]) {
  const C* from = static_cast<const C*>(p);
  if constexpr (kCount == 2) {
    v[0] = dev::to_f32(from[0]);
    v[1] = dev::to_f32(from[1]);
  } else if constexpr (kCount == 4) {
    dev::load4<C>(from, v);
  } else {
    static_assert(kCount % 8 == 0);
#pragma unroll
    for (int i = 0; i < kCount; i += 8) dev::load8<C>(from + i, v + i);
  }
}

/// Elements d .. d + kCount of a row of the cache, d a multiple of kCount.
template <class C, int kCount>
VRAMPLAN_DEVICE void load_row(const std::byte* row, std::int64_t width, int d, float (&v)[kCount]) {
  if constexpr (kPlainRow<C>) {
    load_elements<C, kCount>(reinterpret_cast<const C*>(row) + d, v);
  } else {
    dev::load_codes<C, kCount>(row, width, d, v);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
