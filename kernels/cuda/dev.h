#pragma once
// The seam between kernel sources and what compiles them: nvcc for a device, or a C++ compiler over
// a fiber runtime (the directory of simt_device.h must then be on the include path). Kernels
// include only this header. Both sides give: VRAMPLAN_KERNEL, VRAMPLAN_BOUNDS(threads),
// VRAMPLAN_DEVICE, VRAMPLAN_SHARED(type, name, count), VRAMPLAN_DYNAMIC_SHARED(type, name), CUDA's
// own spelling of indices, barriers, shuffles, votes and atomics, and in dev:: launch(),
// conversions, vector loads, asynchronous copies and tensor-core tiles.
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/kernels.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

// Elements as bits; arithmetic is in f32.
struct F16 {
  std::uint16_t bits;
};
struct BF16 {
  std::uint16_t bits;
};
struct F8 {  // e4m3: no infinities, NaN is 0x7F and 0xFF, largest 448
  std::uint8_t bits;
};

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS

#if defined(__CUDACC__)
#include "kernels/cuda/dev_nvcc.h"
#else
#include "simt_device.h"
#endif

namespace vramplan::cuda::VRAMPLAN_KERNELS {

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<F16> {
  static constexpr DType value = DType::kF16;
};
template <>
struct DTypeOf<BF16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct DTypeOf<F8> {
  static constexpr DType value = DType::kF8E4M3;
};

namespace dev {

inline constexpr unsigned kFullMask = 0xffffffffU;
inline constexpr float kLog2e = 1.4426950408889634F;

VRAMPLAN_DEVICE int lane() { return static_cast<int>(linear_thread() & 31U); }
VRAMPLAN_DEVICE int warp() { return static_cast<int>(linear_thread() >> 5U); }

template <class T>
VRAMPLAN_DEVICE T least(T a, T b) {
  return a < b ? a : b;
}
template <class T>
VRAMPLAN_DEVICE T most(T a, T b) {
  return a < b ? b : a;
}

VRAMPLAN_DEVICE float minus_infinity() { return as_float(0xff800000U); }

/// The sum of v over the lanes of a full warp, in every lane; always added in the same order.
VRAMPLAN_DEVICE float warp_sum(float v) {
  for (int d = 16; d > 0; d >>= 1) v += __shfl_xor_sync(kFullMask, v, d);
  return v;
}
VRAMPLAN_DEVICE float warp_max(float v) {
  for (int d = 16; d > 0; d >>= 1) v = most(v, __shfl_xor_sync(kFullMask, v, d));
  return v;
}

/// The sum over a block of whole warps, in every thread. `partial` [32] is shared memory of the
/// caller; the caller passes a barrier before it uses `partial` again.
VRAMPLAN_DEVICE float block_sum(float v, float* partial) {
  v = warp_sum(v);
  if (lane() == 0) partial[warp()] = v;
  __syncthreads();
  const int warps = static_cast<int>(block_threads() / 32U);
  return warp_sum(lane() < warps ? partial[lane()] : 0.0F);
}

/// An element of a row whose dtype is known at run time (the branch is uniform).
VRAMPLAN_DEVICE float load_as(DType dtype, const void* data, std::int64_t i) {
  if (dtype == DType::kF32) return static_cast<const float*>(data)[i];
  if (dtype == DType::kF16) return to_f32(static_cast<const F16*>(data)[i]);
  return to_f32(static_cast<const BF16*>(data)[i]);
}
VRAMPLAN_DEVICE void store_as(DType dtype, void* data, std::int64_t i, float value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(data)[i] = value;
  } else if (dtype == DType::kF16) {
    static_cast<F16*>(data)[i] = from_f32<F16>(value);
  } else {
    static_cast<BF16*>(data)[i] = from_f32<BF16>(value);
  }
}

}  // namespace dev
}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
