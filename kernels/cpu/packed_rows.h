#pragma once
// Packed tiles as f32, for kernels that use what they widen many times.
#include "kernels/cpu/kv_tile.h"
#include "kernels/cpu/packed_tile.h"

namespace vramplan::cpu {
namespace {  // each file has its own copy, for its own vector width

/// `count` cache positions from `from`, both multiples of 32; `keys`: positions of a row of keys.
struct TileRun {
  std::int64_t from, count, keys;
};

/// Elements of the tile to to[i * stride + lane].
template <int kBits>
void widen_tile(const PackedTile& tile, std::int64_t stride, float* to) {
  constexpr std::int64_t kPerWord = 32 / kBits;
  const Vs mask = reinterpret_cast<Vs>(set1_i32((1 << kBits) - 1));
  const std::uint32_t* words = tile.words();
  for (std::int64_t i = 0; i < tile.count; ++i, to += stride) {
    const std::int64_t at = i % kPerWord;
    const int shift = static_cast<int>(8 * (at % 4) + kBits * (at / 4));
    const Vf scale = set1(f16_to_f32(tile.scales()[i])), least = set1(f16_to_f32(tile.zeros()[i]));
    for (std::int64_t lane = 0; lane < kTileLanes; lane += kLanes) {
      const Vs word = reinterpret_cast<Vs>(load_i(words + i / kPerWord * kTileLanes + lane));
      const Vf code = to_float(reinterpret_cast<Vi>((word >> shift) & mask));
      store(to + lane, fma(code, scale, least));
    }
  }
}

inline void widen_tile(const PackedTile& tile, std::int64_t stride, float* to) {
  tile.bits == 2 ? widen_tile<2>(tile, stride, to) : widen_tile<4>(tile, stride, to);
}

/// Keys of a head to `to` [head_dim, run.keys].
[[maybe_unused]] void widen_key_tiles(const KvLayerView& kv, const std::int32_t* block_table,
                                      std::int64_t head, const TileRun& run, float* to) {
  for (std::int64_t i = 0; i < run.count; i += kTileLanes) {
    const std::int64_t at = run.from + i;
    const std::int64_t block = block_table[at / kv.block_tokens];
    widen_tile(key_tile(kv, block, head, at % kv.block_tokens), run.keys, to + i);
  }
}

/// Values of a head to `to` [run.count, value_dim].
[[maybe_unused]] void widen_value_tiles(const KvLayerView& kv, const std::int32_t* block_table,
                                        std::int64_t head, const TileRun& run, float* to) {
  for (std::int64_t i = 0; i < run.count; i += kTileLanes) {
    const std::int64_t at = run.from + i;
    const std::int64_t block = block_table[at / kv.block_tokens];
    for (std::int64_t part = 0; part < kv.value_dim / kTileLanes; ++part) {
      widen_tile(value_tile(kv, block, head, at % kv.block_tokens, part), kv.value_dim,
                 to + i * kv.value_dim + part * kTileLanes);
    }
  }
}

}  // namespace
}  // namespace vramplan::cpu
