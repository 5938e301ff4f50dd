#pragma once
// Deterministic values by counter: element i depends on (name hash, i) alone, so any launch shape
// gives the same tensor. Mixing function: splitmix64 (Steele, Lea and Flood 2014).
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

VRAMPLAN_DEVICE std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

/// Uniform in (-range, range): the middle of one of 2^24 steps.
template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256)
    fill_random_kernel(T* out, std::int64_t n, std::uint64_t seed, float range) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
       i += stride) {
    const std::uint64_t bits =
        mix(seed + 0x9e3779b97f4a7c15ULL * static_cast<std::uint64_t>(i + 1));
    const float unit = (static_cast<float>(bits >> 40) + 0.5F) * 0x1p-24F;  // (0, 1)
    out[i] = dev::from_f32<T>((2.0F * unit - 1.0F) * range);
  }
}

/// Block formats: random codes and packed scales; the f16 fields of each block (`fields` of them
/// from `field_offset`) are +-scale. One thread a block.
struct BlockFields {
  int block_bytes = 0, field_offset = 0, fields = 0;
  float scale = 0.0F;
};
VRAMPLAN_DEVICE void fill_block(std::uint8_t* block, std::uint64_t seed, const BlockFields& shape) {
  std::uint64_t bits = 0;
  for (int b = 0; b < shape.block_bytes; ++b) {
    if (b % 8 == 0)
      bits = mix(seed + 0x9e3779b97f4a7c15ULL * static_cast<std::uint64_t>(b / 8 + 1));
    block[b] = static_cast<std::uint8_t>(bits >> (8 * (b % 8)));
  }
  for (int f = 0; f < shape.fields; ++f) {
    const float sign = ((seed >> f) & 1U) != 0 ? -shape.scale : shape.scale;
    const F16 field = dev::from_f32<F16>(sign);
    block[shape.field_offset + 2 * f] = static_cast<std::uint8_t>(field.bits & 255U);
    block[shape.field_offset + 2 * f + 1] = static_cast<std::uint8_t>(field.bits >> 8);
  }
}
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256)
    fill_random_blocks_kernel(std::uint8_t* out, std::int64_t blocks, std::uint64_t seed,
                              BlockFields shape) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < blocks; i += stride) {
    fill_block(out + i * shape.block_bytes, mix(seed ^ mix(static_cast<std::uint64_t>(i))), shape);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
