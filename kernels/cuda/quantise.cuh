#pragma once
// Rows of activations as e4m3 codes with a scale a row, for fp8 products, and in the same launch
// the f32 factors of the weight's rows. A block takes a row and reads it twice; the second time it
// is in the cache.
#include "kernels/cuda/packed_weight.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

inline constexpr float kLargestF8 = 448.0F;
inline constexpr float kSmallestNormal = 1.17549435e-38F;
inline constexpr int kQuantiseThreads = 256;

/// Where the factors of a weight's rows come from; out null: nobody asked for them.
struct WeightScales {
  float* out = nullptr;          // [rows]
  const void* stored = nullptr;  // bf16 [rows] or one f32; null: 1
  bool each_row = false;
  std::int64_t rows = 0;
};

VRAMPLAN_DEVICE void spread_scales(const WeightScales& w, std::int64_t block) {
  const std::int64_t row = block * kQuantiseThreads + static_cast<std::int64_t>(threadIdx.x);
  if (row >= w.rows) return;
  float scale = 1.0F;
  if (w.each_row) {
    scale = dev::to_f32(static_cast<const BF16*>(w.stored)[row]);
  } else if (w.stored != nullptr) {
    scale = *static_cast<const float*>(w.stored);
  }
  w.out[row] = scale;
}

/// Grid: tokens, and behind them ceil(weight rows / kQuantiseThreads) for the factors.
template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(kQuantiseThreads)
    quantise_rows_kernel(F8* out, float* scales, const T* in, std::int64_t tokens,
                         std::int64_t columns, WeightScales weight) {
  VRAMPLAN_SHARED(float, largest, 32);
  const auto token = static_cast<std::int64_t>(blockIdx.x);
  if (token >= tokens) return spread_scales(weight, token - tokens);
  const std::int64_t at = token * columns;
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
  const float share = most / kLargestF8;
  const float scale = share < kSmallestNormal ? 1.0F : share;  // such a row is zeros
  if (thread == 0) scales[token] = scale;
  for (std::int64_t i = thread; i < columns; i += blockDim.x) {
    out[at + i] = dev::from_f32<F8>(dev::to_f32(in[at + i]) / scale);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
