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

/// Largest magnitude over a warp; NaN when a lane has one.
VRAMPLAN_DEVICE float warp_magnitude(float x) {
  const float own = dev::as_float(dev::as_bits(x) & 0x7fffffffU);
  const float most = dev::warp_max(own == own ? own : 0.0F);
  return __any_sync(dev::kFullMask, own == own ? 0 : 1) != 0 ? dev::as_float(0x7fc00000U) : most;
}

/// x in steps of 1 / inverse, to the nearest of -127..127, ties to even; NaN as 0.
VRAMPLAN_DEVICE std::uint8_t code_of(float x, float inverse) {
  const float code = dev::round_even(dev::multiply(x, inverse));
  const float held = dev::least(dev::most(code == code ? code : 0.0F, -127.0F), 127.0F);
  return static_cast<std::uint8_t>(static_cast<std::int8_t>(held));
}

VRAMPLAN_DEVICE float inverse_of(float most) { return most > 1e-36F ? 127.0F / most : 0.0F; }

/// A warp writes 32 elements, one a lane, as a block of q8_0 or q4_0.
template <class C>
VRAMPLAN_DEVICE void store_block(float x, std::uint8_t* to) {
  const float most = warp_magnitude(x);
  if constexpr (std::is_same_v<C, KvQ8_0>) {
    if (dev::lane() == 0) {
      *reinterpret_cast<std::uint16_t*>(to) = dev::from_f32<F16>(most / 127.0F).bits;
    }
    to[2 + dev::lane()] = code_of(x, inverse_of(most));
  } else {
    // The first element of that magnitude becomes code 0, which is -8.
    const float own = dev::as_float(dev::as_bits(x) & 0x7fffffffU);
    const unsigned holders = __ballot_sync(dev::kFullMask, own == most ? 1 : 0);
    const int first = holders == 0 ? 0 : __popc((holders & (0U - holders)) - 1U);
    const float edge = __shfl_sync(dev::kFullMask, x, first);
    const float scale = (most == most ? edge : most) / -8.0F;
    const float inverse = most > 1e-36F ? 1.0F / scale : 0.0F;
    const float value = dev::multiply(x, inverse) + 8.5F;
    const auto code = static_cast<unsigned>(value >= 15.0F ? 15.0F : value >= 0.0F ? value : 0.0F);
    const unsigned high = __shfl_down_sync(dev::kFullMask, code, 16);
    if (dev::lane() == 0) *reinterpret_cast<std::uint16_t*>(to) = dev::from_f32<F16>(scale).bits;
    if (dev::lane() < 16) to[2 + dev::lane()] = static_cast<std::uint8_t>(code | high << 4);
  }
}

/// A warp writes a head's row as codes of 8 bits and their scale. width: a multiple of 4.
template <class T>
VRAMPLAN_DEVICE void store_i8_row(const T* row, int width, std::uint8_t* to) {
  float most = 0.0F;
  for (int i = 0; i < width; i += 32) {
    const int at = i + dev::lane();
    const float part = warp_magnitude(at < width ? dev::to_f32(row[at]) : 0.0F);
    most = part <= most ? most : part;  // a NaN stays
    if (most != most) break;            // the whole warp
  }
  for (int at = dev::lane(); at < width; at += 32) {
    to[at] = code_of(dev::to_f32(row[at]), inverse_of(most));
  }
  if (dev::lane() == 0) *reinterpret_cast<float*>(to + width) = most / 127.0F;
}

/// Writes one token's rows of k or v to the cache's format.
template <class T, class C>
VRAMPLAN_DEVICE void store_heads(const KvLayerView& kv, const T* row, std::int64_t slot,
                                 bool values) {
  const std::int64_t block = slot / kv.block_tokens, offset = slot % kv.block_tokens;
  const int dim = static_cast<int>(values ? kv.value_dim : kv.head_dim);
  const int columns = static_cast<int>(kv.kv_heads) * dim;
  if constexpr (kPlainRow<C>) {
    for (int i = static_cast<int>(threadIdx.x); i < columns; i += static_cast<int>(blockDim.x)) {
      auto* to = reinterpret_cast<C*>(kv_row<C>(kv, block, i / dim, offset, values));
      to[i % dim] = dev::from_f32<C>(dev::to_f32(row[i]));
    }
    return;
  } else {
    const int width = std::is_same_v<C, KvI8> ? dim : 32, warps = static_cast<int>(blockDim.x) / 32;
    for (int i = dev::warp() * width; i < columns; i += warps * width) {
      auto* to = reinterpret_cast<std::uint8_t*>(kv_row<C>(kv, block, i / dim, offset, values));
      if constexpr (std::is_same_v<C, KvI8>) {
        store_i8_row(row + i, width, to);
      } else {
        store_block<C>(dev::to_f32(row[i + dev::lane()]), to + row_bytes<C>(i % dim));
      }
    }
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
