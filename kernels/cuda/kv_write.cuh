#pragma once
// Rotary positions, and keys and values of new tokens into their slots of the block pool: apart and
// in one kernel. A block takes one token.
#include "kernels/cuda/kv_view.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

struct Rotation {
  float sine, cosine;
};

/// Angle = position * inverse frequency, in f64 down to a turn: f32 would lose it for long
/// contexts.
VRAMPLAN_DEVICE Rotation rotation(const DeviceRope& rope, std::int32_t position, int pair) {
  const double turns = static_cast<double>(position) *
                       static_cast<double>(rope.inverse_frequency[pair]) * 0.15915494309189533577;
  Rotation r{};
  dev::sin_cos_turns(static_cast<float>(turns - dev::floor(turns)), r.sine, r.cosine);
  r.sine *= rope.magnitude;
  r.cosine *= rope.magnitude;
  return r;
}

/// The element of a rotated pair at `i` and its partner at `j`.
struct PairPlaces {
  int i, j;
};
VRAMPLAN_DEVICE PairPlaces pair_places(const DeviceRope& rope, int pair) {
  if (rope.interleaved) return {2 * pair, 2 * pair + 1};
  return {pair, pair + static_cast<int>(rope.rotary_dim / 2)};
}

/// Rotates the heads of one row; each thread takes pairs of all heads.
template <class T>
VRAMPLAN_DEVICE void rotate_row(T* row, std::int64_t columns, const DeviceRope& rope,
                                std::int32_t position) {
  const int pairs = static_cast<int>(rope.rotary_dim / 2);
  const int heads = static_cast<int>(columns / rope.head_dim);
  for (int n = static_cast<int>(threadIdx.x); n < pairs * heads;
       n += static_cast<int>(blockDim.x)) {
    const Rotation r = rotation(rope, position, n % pairs);
    const PairPlaces at = pair_places(rope, n % pairs);
    T* head = row + (n / pairs) * rope.head_dim;
    const float a = dev::to_f32(head[at.i]), b = dev::to_f32(head[at.j]);
    head[at.i] = dev::from_f32<T>(dev::multiply(a, r.cosine) - dev::multiply(b, r.sine));
    head[at.j] = dev::from_f32<T>(dev::multiply(a, r.sine) + dev::multiply(b, r.cosine));
  }
}

template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    rope_kernel(T* x, std::int64_t columns, const std::int32_t* positions, DeviceRope rope) {
  const std::int64_t t = blockIdx.x;
  rotate_row(x + t * columns, columns, rope, positions[t]);
}

/// Writes one token's rows of k or v. C is the element of the cache.
template <class T, class C>
VRAMPLAN_DEVICE void store_heads(const KvLayerView& kv, const T* row, std::int64_t slot,
                                 bool values) {
  const std::int64_t block = slot / kv.block_tokens, offset = slot % kv.block_tokens;
  const int dim = static_cast<int>(values ? kv.value_dim : kv.head_dim);
  const int size = sizeof(C);
  for (int i = static_cast<int>(threadIdx.x); i < kv.kv_heads * dim;
       i += static_cast<int>(blockDim.x)) {
    const int head = i / dim;
    std::byte* to =
        values ? value_row(kv, block, head, offset, size) : key_row(kv, block, head, offset, size);
    reinterpret_cast<C*>(to)[i % dim] = dev::from_f32<C>(dev::to_f32(row[i]));
  }
}

template <class T, class C>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    kv_write_kernel(KvLayerView kv, const T* k, const T* v, const std::int64_t* slots) {
  const std::int64_t t = blockIdx.x, slot = slots[t];
  if (slot < 0) return;  // the whole block
  store_heads<T, C>(kv, k + t * kv.kv_heads * kv.head_dim, slot, false);
  store_heads<T, C>(kv, v + t * kv.kv_heads * kv.value_dim, slot, true);
}

/// rope of q in place, rope of k, then k and v to the cache. k is rotated in place too: the value
/// cached is that of separate calls to the bit.
template <class T, class C>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    rope_kv_write_kernel(T* q, std::int64_t q_columns, T* k, const T* v,
                         const std::int32_t* positions, DeviceRope rope, KvLayerView kv,
                         const std::int64_t* slots) {
  const std::int64_t t = blockIdx.x, slot = slots[t];
  T* my_k = k + t * kv.kv_heads * kv.head_dim;
  rotate_row(q + t * q_columns, q_columns, rope, positions[t]);
  rotate_row(my_k, kv.kv_heads * kv.head_dim, rope, positions[t]);
  __syncthreads();  // k is read back by other threads than wrote it
  if (slot < 0) return;
  store_heads<T, C>(kv, my_k, slot, false);
  store_heads<T, C>(kv, v + t * kv.kv_heads * kv.value_dim, slot, true);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
