#pragma once
// PackedTile: 32 lanes of codes that are summed over a second axis, as the formats kivi2 and kivi4
// keep keys and values. A K tile has a lane a token and sums over the channels of a head; a V tile
// has a lane a channel and sums over 32 tokens. So each channel of K and each token of V has a
// scale and a zero of its own for 32 elements, as KIVI groups them (Liu et al. 2024, "KIVI: A
// Tuning-Free Asymmetric 2bit Quantization for KV Cache"), and both are read by the same kernel.
//
//   element(i, lane) = zero[i] + scale[i] * code(i, lane), 0 <= i < count, 0 <= lane < 32
//
// Bytes of a tile: count * (4 bits + 4): words [count * bits / 32][32 lanes] of 32 bits, then
// count f16 scales, then count f16 zeros. Element i is in word i / n of its lane, n = 32 / bits: at
// bit 8 (i % 4) + bits (i % n / 4), so that a shift and a mask bring four of them into four bytes.
#include <cstdint>
#include <cstring>

#include "kernels/ops.h"

namespace vramplan::cpu {

inline constexpr std::int64_t kTileLanes = 32;

/// Codes of a tile's element have 2 or 4 bits; 0 for formats that are no tiles.
inline int packed_bits(DType dtype) {
  return dtype == DType::kKivi2 ? 2 : dtype == DType::kKivi4 ? 4 : 0;
}

struct PackedTile {
  int bits;
  std::int64_t count;  // elements of a lane, a multiple of 16
  std::byte* base;

  std::uint32_t* words() const { return reinterpret_cast<std::uint32_t*>(base); }
  std::uint16_t* scales() const {
    return reinterpret_cast<std::uint16_t*>(base + count * 4 * bits);
  }
  std::uint16_t* zeros() const { return scales() + count; }
  std::int64_t bytes() const { return count * (4 * bits + 4); }
};

/// Keys of the 32 tokens from a cache position that is a multiple of 32, `offset` in its block.
inline PackedTile key_tile(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                           std::int64_t offset) {
  const std::int64_t row = head * kv.block_tokens + offset;
  std::byte* base = kv.base + block * kv.block_stride + row * kv_row_bytes(kv.dtype, kv.head_dim).n;
  return {packed_bits(kv.dtype), kv.head_dim, base};
}

/// Their values in channels [32 part, 32 part + 32).
inline PackedTile value_tile(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                             std::int64_t offset, std::int64_t part) {
  const std::int64_t row = head * kv.block_tokens + offset;
  std::byte* base = kv.base + block * kv.block_stride + kv.value_offset +
                    row * kv_row_bytes(kv.dtype, kv.value_dim).n;
  PackedTile tile{packed_bits(kv.dtype), kTileLanes, base};
  tile.base += part * tile.bytes();
  return tile;
}

/// Where a matrix of f32 holds what a tile is made of: element(i, lane) at
/// data[i * element_stride + lane * lane_stride].
struct TileSource {
  const float* data;
  std::int64_t element_stride, lane_stride;
};
/// zero = the least of 32 elements, scale = (the largest - the least) / (2^bits - 1), both rounded
/// to f16; code = round((element - zero) / scale) within its bits, halves to even; 0 when the scale
/// is. An element that is no number makes scale and zero of its 32 no number.
void pack_tile(const TileSource& from, const PackedTile& to);

/// Element (i, lane) by the definition above; slow.
float tile_element(const PackedTile& tile, std::int64_t i, std::int64_t lane);

}  // namespace vramplan::cpu
