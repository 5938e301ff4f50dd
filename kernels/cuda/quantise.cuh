#pragma once
// Rows of activations as e4m3 codes with a scale a row, for fp8 products. A block takes a row and
// reads it twice; the second time it is in the cache.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr float kLargestF8 = 448.0F;

/// Grid: rows.
template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256)
    quantise_rows_kernel(F8* out, float* scales, const T* in, std::int64_t columns) {
  VRAMPLAN_SHARED(float, largest, 32);
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * columns;
  const auto thread = static_cast<std::int64_t>(threadIdx.x);
  float most = 0.0F;
  for (std::int64_t i = thread; i < columns; i += blockDim.x) {
    const float v = dev::to_f32(in[at + i]);
    most = dev::most(most, v < 0.0F ? -v : v);
  }
  most = dev::warp_max(most);
  if (dev::lane() == 0) largest[dev::warp()] = most;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x / 32U);
  most = dev::warp_max(dev::lane() < warps ? largest[dev::lane()] : 0.0F);
  const float scale = most > 0.0F ? most / kLargestF8 : 1.0F;
  if (thread == 0) scales[blockIdx.x] = scale;
  for (std::int64_t i = thread; i < columns; i += blockDim.x) {
    out[at + i] = dev::from_f32<F8>(dev::to_f32(in[at + i]) / scale);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
