#pragma once
// Tiles of the formats kivi2 and kivi4, as kernels/cpu/packed_tile.h describes them: 32 lanes of
// codes, a word of 32 / kBits elements a lane, then a scale and a zero an element.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr int kTileLanes = 32;

template <int kBits>
VRAMPLAN_DEVICE std::int64_t tile_bytes(std::int64_t count) {
  return count * (4 * kBits + 4);
}

/// The tile of K (count = head_dim), or the first one of V (count = 32, one a 32 channels), of the
/// 32 tokens from `offset` on in a block.
template <int kBits>
VRAMPLAN_DEVICE std::byte* tile_at(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                                   std::int64_t offset, bool values) {
  const std::int64_t width = values ? kv.value_dim : kv.head_dim;
  return kv.base + block * kv.block_stride + (values ? kv.value_offset : 0) +
         (head * kv.block_tokens + offset) * (tile_bytes<kBits>(width) / kTileLanes);
}

template <int kBits>
VRAMPLAN_DEVICE std::uint16_t* tile_scales(std::byte* tile, std::int64_t count) {
  return reinterpret_cast<std::uint16_t*>(tile + count * 4 * kBits);
}

/// Bits by which element i of a word is shifted.
template <int kBits>
VRAMPLAN_DEVICE int code_shift(int i) {
  return 8 * (i % 4) + kBits * (i / 4);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
