#pragma once
// Blocks of a residual window on their way into a history. A block takes one pack and one KV head.
// Packed tiles: scales and zeros first, a thread an element; then codes, a thread a word. Rows:
// each stride'th of the 32, encoded as kv_write does it.
#include "kernels/cuda/kv_write.cuh"
#include "kernels/cuda/packed_tile.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Where f16 rows hold what a tile is made of: element(i, lane) at data[i * element_stride + lane *
/// lane_stride].
struct TileRows {
  const F16* data;
  std::int64_t element_stride, lane_stride;
  VRAMPLAN_DEVICE float at(std::int64_t i, int lane) const {
    return dev::to_f32(data[i * element_stride + lane * lane_stride]);
  }
};

/// Least element of a lane's 32 and their range in steps, as f16; NaN when there is one.
template <int kBits>
VRAMPLAN_DEVICE void store_group(const TileRows& from, int i, std::uint16_t& scale,
                                 std::uint16_t& zero) {
  constexpr float kLevels = static_cast<float>((1 << kBits) - 1);
  float least = from.at(i, 0), most = least;
  bool number = true;
  for (int lane = 0; lane < kTileLanes; ++lane) {
    const float x = from.at(i, lane);
    least = dev::least(least, x);
    most = dev::most(most, x);
    number = number && x == x;
  }
  if (!number) least = most = dev::as_float(0x7fc00000U);
  scale = dev::from_f32<F16>((most - least) / kLevels).bits;
  zero = dev::from_f32<F16>(least).bits;
}

template <int kBits>
VRAMPLAN_DEVICE std::uint32_t code_of_group(float x, std::uint16_t scale_bits,
                                            std::uint16_t zero_bits) {
  constexpr float kLevels = static_cast<float>((1 << kBits) - 1);
  const float scale = dev::to_f32(F16{scale_bits}), zero = dev::to_f32(F16{zero_bits});
  if (!(scale > 0.0F)) return 0;  // all alike, or no number
  const float code = dev::round_even((x - zero) / scale);
  return static_cast<std::uint32_t>(dev::least(dev::most(code, 0.0F), kLevels));
}

/// The whole block makes one tile of `count` elements.
template <int kBits>
VRAMPLAN_DEVICE void pack_tile(const TileRows& from, int count, std::byte* tile) {
  constexpr int kPerWord = 32 / kBits;
  std::uint16_t* const scales = tile_scales<kBits>(tile, count);
  std::uint16_t* const zeros = scales + count;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    store_group<kBits>(from, i, scales[i], zeros[i]);
  }
  __syncthreads();  // scales and zeros are read back by other threads than wrote them
  auto* words = reinterpret_cast<std::uint32_t*>(tile);
  for (int n = static_cast<int>(threadIdx.x); n < count / kPerWord * kTileLanes;
       n += static_cast<int>(blockDim.x)) {
    const int first = n / kTileLanes * kPerWord, lane = n % kTileLanes;
    std::uint32_t word = 0;
    for (int i = 0; i < kPerWord; ++i) {
      const std::uint32_t code =
          code_of_group<kBits>(from.at(first + i, lane), scales[first + i], zeros[first + i]);
      word |= code << code_shift<kBits>(i);
    }
    words[n] = word;
  }
}

/// Where one pack's rows of one KV head come from and where they go.
struct PackPlace {
  int head;
  const F16 *keys, *values;    // [32, head_dim], [32, value_dim]
  std::int64_t block, offset;  // of the history
};
VRAMPLAN_DEVICE PackPlace pack_place(const KvLayerView& history, const KvLayerView& recent,
                                     const KvPack& pack) {
  const int head = static_cast<int>(blockIdx.y);
  const std::byte* from = recent.base + pack.recent_block * recent.block_stride;
  return {head, reinterpret_cast<const F16*>(from) + head * recent.block_tokens * recent.head_dim,
          reinterpret_cast<const F16*>(from + recent.value_offset) +
              head * recent.block_tokens * recent.value_dim,
          pack.first_slot / history.block_tokens, pack.first_slot % history.block_tokens};
}

/// Grid: packs, KV heads.
template <int kBits>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    kv_pack_kernel(KvLayerView history, KvLayerView recent, const KvPack* packs) {
  const KvPack pack = packs[blockIdx.x];
  if (pack.recent_block < 0) return;  // the whole block
  const PackPlace at = pack_place(history, recent, pack);
  const std::int64_t k = history.head_dim, v = history.value_dim;
  pack_tile<kBits>({at.keys, 1, k}, static_cast<int>(k),
                   tile_at<kBits>(history, at.block, at.head, at.offset, false));
  std::byte* tile = tile_at<kBits>(history, at.block, at.head, at.offset, true);
  for (int part = 0; part < v / kTileLanes; ++part, tile += tile_bytes<kBits>(kTileLanes)) {
    pack_tile<kBits>({at.values + part * kTileLanes, v, 1}, kTileLanes, tile);
  }
}

/// Of the 32 rows of a head at `rows` each stride'th, in the history's format.
template <class C>
VRAMPLAN_DEVICE void pack_rows(const KvLayerView& history, const PackPlace& at, const F16* rows,
                               int stride, bool values) {
  const int dim = static_cast<int>(values ? history.value_dim : history.head_dim);
  const int kept = kTileLanes / stride;
  if constexpr (kPlainRow<C>) {
    for (int i = static_cast<int>(threadIdx.x); i < kept * dim; i += static_cast<int>(blockDim.x)) {
      auto* to =
          reinterpret_cast<C*>(kv_row<C>(history, at.block, at.head, at.offset + i / dim, values));
      to[i % dim] = dev::from_f32<C>(dev::to_f32(rows[i / dim * stride * dim + i % dim]));
    }
    return;
  } else {
    const int width = std::is_same_v<C, KvI8> ? dim : 32;  // a warp encodes it
    const int parts = dim / width, warps = static_cast<int>(blockDim.x) / 32;
    for (int n = dev::warp(); n < kept * parts; n += warps) {
      const int row = n / parts, d = n % parts * width;
      const F16* from = rows + row * stride * dim + d;
      auto* to = reinterpret_cast<std::uint8_t*>(
          kv_row<C>(history, at.block, at.head, at.offset + row, values));
      if constexpr (std::is_same_v<C, KvI8>) {
        store_i8_row(from, width, to);
      } else {
        store_block<C>(dev::to_f32(from[dev::lane()]), to + row_bytes<C>(d));
      }
    }
  }
}

/// Grid: packs, KV heads.
template <class C>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    kv_pack_rows_kernel(KvLayerView history, KvLayerView recent, const KvPack* packs, int stride) {
  const KvPack pack = packs[blockIdx.x];
  if (pack.recent_block < 0) return;  // the whole block
  const PackPlace at = pack_place(history, recent, pack);
  pack_rows<C>(history, at, at.keys, stride, false);
  pack_rows<C>(history, at, at.values, stride, true);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
