#pragma once
// The device side of dev.h, for nvcc. The C++ twin of every function is in the fiber runtime's
// simt_device.h.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <string>
#include <utility>

#define VRAMPLAN_KERNEL __global__ void
#define VRAMPLAN_BOUNDS(threads) __launch_bounds__(threads, 1)
#define VRAMPLAN_DEVICE __device__ __forceinline__
#define VRAMPLAN_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define VRAMPLAN_DYNAMIC_SHARED(type, name)                                 \
  extern __shared__ __align__(128) unsigned char vramplan_dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(vramplan_dynamic_shared)

namespace vramplan::cuda::VRAMPLAN_KERNELS::dev {

using Dim3 = dim3;
using U2 = uint2;
using U4 = uint4;
using F4 = float4;

__device__ __forceinline__ unsigned linear_thread() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
__device__ __forceinline__ unsigned block_threads() { return blockDim.x * blockDim.y * blockDim.z; }

__device__ __forceinline__ float as_float(std::uint32_t bits) { return __uint_as_float(bits); }
__device__ __forceinline__ std::uint32_t as_bits(float x) { return __float_as_uint(x); }

__device__ __forceinline__ float to_f32(float x) { return x; }
__device__ __forceinline__ float to_f32(F16 x) { return __half2float(__ushort_as_half(x.bits)); }
__device__ __forceinline__ float to_f32(BF16 x) {
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}
__device__ __forceinline__ float to_f32(F8 x) {
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(x.bits, __NV_E4M3)));
}

template <class T>
__device__ __forceinline__ T from_f32(float x);
template <>
__device__ __forceinline__ float from_f32<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ F16 from_f32<F16>(float x) {
  return {__half_as_ushort(__float2half_rn(x))};
}
template <>
__device__ __forceinline__ BF16 from_f32<BF16>(float x) {
  return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
}
/// Saturates at 448.
template <>
__device__ __forceinline__ F8 from_f32<F8>(float x) {
  return {__nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3)};
}

/// Two values as one register, the first in the low half.
template <class T>
__device__ __forceinline__ std::uint32_t pack2(float low, float high);
template <>
__device__ __forceinline__ std::uint32_t pack2<F16>(float low, float high) {
  const __half2 v = __floats2half2_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&v);
}
template <>
__device__ __forceinline__ std::uint32_t pack2<BF16>(float low, float high) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&v);
}

/// Four e4m3 bytes as four halves, two a register. Exact.
__device__ __forceinline__ U2 f8x4_to_f16x4(std::uint32_t bytes) {
  const __half2_raw low =
      __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(bytes), __NV_E4M3);
  const __half2_raw high =
      __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(bytes >> 16), __NV_E4M3);
  return {static_cast<std::uint32_t>(low.x) | static_cast<std::uint32_t>(low.y) << 16,
          static_cast<std::uint32_t>(high.x) | static_cast<std::uint32_t>(high.y) << 16};
}

__device__ __forceinline__ float exp2(float x) { return exp2f(x); }
__device__ __forceinline__ float exp(float x) { return expf(x); }
__device__ __forceinline__ float log2(float x) { return log2f(x); }
__device__ __forceinline__ float tanh(float x) { return tanhf(x); }
__device__ __forceinline__ float erf(float x) { return erff(x); }
__device__ __forceinline__ float inverse_sqrt(float x) { return 1.0F / sqrtf(x); }
/// a * b, never merged with a following addition.
__device__ __forceinline__ float multiply(float a, float b) { return __fmul_rn(a, b); }
/// sin and cos of 2 * pi * turns.
__device__ __forceinline__ void sin_cos_turns(float turns, float& sine, float& cosine) {
  sincospif(2.0F * turns, &sine, &cosine);
}
__device__ __forceinline__ float round_even(float x) { return ::rintf(x); }
__device__ __forceinline__ double floor(double x) { return ::floor(x); }

/// Aligned vector load.
template <class V>
__device__ __forceinline__ V load(const void* p) {
  return *static_cast<const V*>(p);
}
template <class V>
__device__ __forceinline__ void store(void* p, V v) {
  *static_cast<V*>(p) = v;
}

/// Copies 16 bytes from global to shared memory in the background; zeros unless `valid`.
__device__ __forceinline__ void copy16_async(void* to, const void* from, bool valid) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void copy_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Returns when at most kGroups committed groups of this thread are still on their way.
template <int kGroups>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

/// Four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8;
/// out[i] = elements (l / 4, 2 * (l % 4)) and the next of matrix i, or of its transpose.
__device__ __forceinline__ void load_matrices(std::uint32_t (&out)[4], const void* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&out)[4], const void* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

/// c[16 x 8] += a[16 x 16] * b[16 x 8] on tensor cores, fragments as PTX mma.m16n8k16 lays them
/// out.
template <class T>
__device__ __forceinline__ void multiply_tile(float (&c)[4], const std::uint32_t (&a)[4],
                                              std::uint32_t b0, std::uint32_t b1);
template <>
__device__ __forceinline__ void multiply_tile<F16>(float (&c)[4], const std::uint32_t (&a)[4],
                                                   std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void multiply_tile<BF16>(float (&c)[4], const std::uint32_t (&a)[4],
                                                    std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Enqueues kernel(args...). Shared memory above 48 KiB is opted in to. Errors: kInternal.
template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), Dim3 grid, Dim3 block,
            std::size_t dynamic_shared_bytes, Stream stream, Arguments... arguments) {
  cudaError_t status = cudaSuccess;
  if (dynamic_shared_bytes > 48 * 1024) {
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(dynamic_shared_bytes));
  }
  if (status == cudaSuccess) {
    kernel<<<grid, block, dynamic_shared_bytes, static_cast<cudaStream_t>(stream.handle)>>>(
        static_cast<Parameters>(arguments)...);
    status = cudaGetLastError();
  }
  if (status != cudaSuccess) {
    throw Error(ErrorCode::kInternal,
                std::string("kernel ") + name + " was not launched: " + cudaGetErrorString(status));
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS::dev
