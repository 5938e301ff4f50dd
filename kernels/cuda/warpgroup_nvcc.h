#pragma once
// The device side of warpgroup.h, for nvcc. The C++ twin of every function is in the fiber
// runtime's simt_warpgroup.h.
#include <cuda.h>  // types of the driver; its function comes by name at run time

#include <cstdlib>

#define VRAMPLAN_GRID_CONSTANT const __grid_constant__

namespace vramplan::cuda::VRAMPLAN_KERNELS::dev {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kWarpgroups = true;
#else
inline constexpr bool kWarpgroups = false;
#endif

using TensorMap = CUtensorMap;

/// Whether the current device runs these kernels: compute capability 9.0, in a build for sm_90a.
inline bool has_warpgroups() {
#if defined(VRAMPLAN_SM_90A)
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major == 9;
#else
  return false;
#endif
}

/// Rows of `width` 16-bit elements, `rows` of them in each of `blocks` blocks of `stride` bytes; a
/// box is 64 elements of `box_rows` rows of a block. Errors: kInternal, kUnsupported by old
/// drivers.
inline TensorMap tensor_map(const void* base, std::int64_t width, std::int64_t rows,
                            std::int64_t blocks, std::int64_t stride, int box_rows) {
  using Encode =
      CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                   const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                   CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
  static const Encode encode = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault,
                                         &result) != cudaSuccess) {
      found = nullptr;
    }
    return reinterpret_cast<Encode>(found);
  }();
  if (encode == nullptr) {
    throw Error(ErrorCode::kUnsupported, "the driver has no cuTensorMapEncodeTiled");
  }
  const auto wide = [](std::int64_t n) { return static_cast<cuuint64_t>(n); };
  const cuuint64_t extents[3] = {wide(width), wide(rows), wide(blocks)};
  const cuuint64_t strides[2] = {wide(2 * width), wide(stride)};
  const cuuint32_t box[3] = {kPanelColumns, static_cast<cuuint32_t>(box_rows), 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  TensorMap map;
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 3, const_cast<void*>(base), extents, strides,
             box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw Error(ErrorCode::kInternal,
                "cuTensorMapEncodeTiled failed with status " + std::to_string(status));
  }
  return map;
}

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// A barrier in shared memory that `arrivals` threads pass on and bytes in flight hold back.
__device__ __forceinline__ void barrier_init(std::uint64_t* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
/// After the last barrier_init, before the __syncthreads that publishes them.
__device__ __forceinline__ void barrier_publish() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(std::uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
/// One arrival, and the phase also waits for `bytes` of copies.
__device__ __forceinline__ void barrier_expect(std::uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
/// Returns when the phase of this parity is over (the one before the first counts as of parity 1).
__device__ __forceinline__ void barrier_wait(std::uint64_t* barrier, unsigned parity) {
  asm volatile(
      "{\n.reg .pred over;\nagain:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n@!over bra again;\n}" ::"r"(
          shared_address(barrier)),
      "r"(parity)
      : "memory");
}

/// Copies the box at column, row and block of `map` to `to`, swizzled; its bytes go to `barrier`.
__device__ __forceinline__ void copy_box(void* to, const TensorMap& map, int column, int row,
                                         int block, std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared_address(to)),
      "l"(&map), "r"(column), "r"(row), "r"(block), "r"(shared_address(barrier))
      : "memory");
}

/// What this thread wrote to shared memory before is seen by tensor cores and copies after it.
__device__ __forceinline__ void async_fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/// Barrier `id` (1..15) of `threads` threads, whole warps: wait for all, or only count as there.
__device__ __forceinline__ void named_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Registers a thread of this warpgroup may use from here on, fewer or more than at its launch.
template <int kCount>
__device__ __forceinline__ void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

/// 2^x, results below 2^-126 as 0.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Before the first product of a group, and after registers that products use were changed.
__device__ __forceinline__ void products_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Holds reads of `c` back behind what comes before in the program.
template <int kTiles>
__device__ __forceinline__ void hold(float (&c)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
  }
}
/// Returns when at most kGroups groups of products are not done; `c` is a result of one that is.
template <int kGroups, int kTiles>
__device__ __forceinline__ void products_wait(float (&c)[kTiles][4]) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
  hold(c);
}

#define VRAMPLAN_TILE(c, n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define VRAMPLAN_TILES8(c, n)                                                                     \
  VRAMPLAN_TILE(c, n), VRAMPLAN_TILE(c, n + 1), VRAMPLAN_TILE(c, n + 2), VRAMPLAN_TILE(c, n + 3), \
      VRAMPLAN_TILE(c, n + 4), VRAMPLAN_TILE(c, n + 5), VRAMPLAN_TILE(c, n + 6),                  \
      VRAMPLAN_TILE(c, n + 7)
#define VRAMPLAN_0_TO_31                                                                          \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25" \
  ",%26,%27,%28,%29,%30,%31"
#define VRAMPLAN_32_TO_63                                                                        \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54," \
  "%55,%56,%57,%58,%59,%60,%61,%62,%63"

// 64 x 128 x 16, both operands in shared memory, K-major. c = a * b, plus c if `add`.
#define VRAMPLAN_PRODUCT_SS(type)                                                        \
  asm volatile(                                                                          \
      "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"                                   \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" VRAMPLAN_0_TO_31 \
      "," VRAMPLAN_32_TO_63 "}, %64, %65, add, 1, 1, 0, 0;\n}"                           \
      : VRAMPLAN_TILES8(c, 0), VRAMPLAN_TILES8(c, 8)                                     \
      : "l"(a), "l"(b), "r"(static_cast<int>(add)))
// 64 x 64 and 64 x 128, A in registers, B MN-major. c += a * b.
#define VRAMPLAN_PRODUCT_RS64(type)                                                              \
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {" VRAMPLAN_0_TO_31 \
               "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"                                          \
               : VRAMPLAN_TILES8(c, 0)                                                           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define VRAMPLAN_PRODUCT_RS128(type)                                                              \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" VRAMPLAN_0_TO_31 \
               "," VRAMPLAN_32_TO_63 "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;"                     \
               : VRAMPLAN_TILES8(c, 0), VRAMPLAN_TILES8(c, 8)                                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

/// c [64 x 128] = a [64 x 16] * b [16 x 128] (+ c): descriptors of two K-major operands. A warp of
/// the warpgroup holds 16 rows of c, as eight columns a tile of mma.m16n8k16.
template <class T>
__device__ __forceinline__ void multiply_shared(float (&c)[16][4], std::uint64_t a, std::uint64_t b,
                                                bool add) {
  if constexpr (sizeof(T) == 2 && DTypeOf<T>::value == DType::kF16) {
    VRAMPLAN_PRODUCT_SS("f16");
  } else {
    VRAMPLAN_PRODUCT_SS("bf16");
  }
}

/// c [64 x 8 * kTiles] += a [64 x 16] * b [16 x 8 * kTiles]: A in registers as a fragment of
/// mma.m16n8k16 a warp, the descriptor of an MN-major B.
template <class T, int kTiles>
__device__ __forceinline__ void multiply_registers(float (&c)[kTiles][4],
                                                   const std::uint32_t (&a)[4], std::uint64_t b) {
  static_assert(kTiles == 8 || kTiles == 16);
  if constexpr (kTiles == 8 && DTypeOf<T>::value == DType::kF16) {
    VRAMPLAN_PRODUCT_RS64("f16");
  } else if constexpr (kTiles == 8) {
    VRAMPLAN_PRODUCT_RS64("bf16");
  } else if constexpr (DTypeOf<T>::value == DType::kF16) {
    VRAMPLAN_PRODUCT_RS128("f16");
  } else {
    VRAMPLAN_PRODUCT_RS128("bf16");
  }
}

#undef VRAMPLAN_TILE
#undef VRAMPLAN_TILES8
#undef VRAMPLAN_0_TO_31
#undef VRAMPLAN_32_TO_63
#undef VRAMPLAN_PRODUCT_SS
#undef VRAMPLAN_PRODUCT_RS64
#undef VRAMPLAN_PRODUCT_RS128

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS::dev
