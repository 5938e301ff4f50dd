#pragma once
// RMSNorm and LayerNorm over groups of n elements, and RMSNorm with the residual sum before it. A
// warp takes a short group, a block a long one; sums in f32, the second pass reads the group again.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// One group per warp: block of kGroups x 32 threads. x and out may be the same memory.
template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    rmsnorm_warp_kernel(T* out, const T* x, const float* weight, std::int64_t groups, int n,
                        float eps, float plus) {
  const std::int64_t group = static_cast<std::int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
  if (group >= groups) return;  // the whole warp
  const T* in = x + group * n;
  float sum = 0.0F;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 32) {
    const float v = dev::to_f32(in[i]);
    sum += v * v;
  }
  const float scale = dev::inverse_sqrt(dev::warp_sum(sum) / static_cast<float>(n) + eps);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += 32) {
    out[group * n + i] = dev::from_f32<T>(dev::to_f32(in[i]) * scale * (weight[i] + plus));
  }
}

/// One group per block. p == nullptr: out = norm(x). Otherwise x += p first, and x is written.
template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256)
    rmsnorm_block_kernel(T* out, T* x, const T* p, const float* weight, int n, float eps,
                         float plus) {
  VRAMPLAN_SHARED(float, partial, 32);
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * n;
  const int threads = static_cast<int>(blockDim.x);
  float sum = 0.0F;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += threads) {
    float v = dev::to_f32(x[at + i]);
    if (p != nullptr) {
      const T rounded = dev::from_f32<T>(v + dev::to_f32(p[at + i]));
      x[at + i] = rounded;
      v = dev::to_f32(rounded);  // the norm of what is stored, as with a separate add
    }
    sum += v * v;
  }
  const float scale = dev::inverse_sqrt(dev::block_sum(sum, partial) / static_cast<float>(n) + eps);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += threads) {
    out[at + i] = dev::from_f32<T>(dev::to_f32(x[at + i]) * scale * (weight[i] + plus));
  }
}

template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256)
    layernorm_kernel(T* out, const T* x, const float* weight, const float* bias, int n, float eps) {
  VRAMPLAN_SHARED(float, sums, 32);
  VRAMPLAN_SHARED(float, squares, 32);
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * n;
  const int threads = static_cast<int>(blockDim.x);
  float sum = 0.0F;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += threads) sum += dev::to_f32(x[at + i]);
  const float mean = dev::block_sum(sum, sums) / static_cast<float>(n);
  float square = 0.0F;  // around the mean: no cancellation
  for (int i = static_cast<int>(threadIdx.x); i < n; i += threads) {
    const float v = dev::to_f32(x[at + i]) - mean;
    square += v * v;
  }
  const float variance = dev::block_sum(square, squares) / static_cast<float>(n);
  const float scale = dev::inverse_sqrt(variance + eps);
  for (int i = static_cast<int>(threadIdx.x); i < n; i += threads) {
    const float v = (dev::to_f32(x[at + i]) - mean) * scale;
    out[at + i] = dev::from_f32<T>(v * weight[i] + bias[i]);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
