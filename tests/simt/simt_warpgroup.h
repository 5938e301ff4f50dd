#pragma once
// The C++ side of kernels/cuda/warpgroup.h over the fiber runtime. The device twin of every
// function is in kernels/cuda/warpgroup_nvcc.h.
#include <type_traits>

#include "async_units.h"
#include "simt_device.h"

#define VRAMPLAN_GRID_CONSTANT const

namespace vramplan::cuda::VRAMPLAN_KERNELS::dev {

inline constexpr bool kWarpgroups = true;
inline bool has_warpgroups() { return true; }

using TensorMap = simt::TensorMap;
inline TensorMap tensor_map(const void* base, std::int64_t width, std::int64_t rows,
                            std::int64_t blocks, std::int64_t stride, int box_rows) {
  // What cuTensorMapEncodeTiled asks for.
  const bool valid = reinterpret_cast<std::uintptr_t>(base) % 16 == 0 && stride % 16 == 0 &&
                     width % 8 == 0 && rows > 0 && blocks > 0 && box_rows > 0 && box_rows <= 256;
  if (!valid) simt::fault("a tensor map of this shape", simt::Site::here());
  return {static_cast<const std::byte*>(base), width, rows, blocks, stride, box_rows};
}

inline std::uint32_t shared_address(const void* p, simt::Site site = simt::Site::here()) {
  return simt::shared_address(p, site);
}
inline void barrier_init(std::uint64_t* barrier, unsigned arrivals,
                         simt::Site site = simt::Site::here()) {
  simt::barrier_init(barrier, arrivals, site);
}
inline void barrier_publish() {}
inline void barrier_arrive(std::uint64_t* barrier, simt::Site site = simt::Site::here()) {
  simt::barrier_arrive(barrier, 0, site);
}
inline void barrier_expect(std::uint64_t* barrier, int bytes,
                           simt::Site site = simt::Site::here()) {
  simt::barrier_arrive(barrier, bytes, site);
}
inline void barrier_wait(std::uint64_t* barrier, unsigned parity,
                         simt::Site site = simt::Site::here()) {
  simt::barrier_wait(barrier, parity, site);
}
inline void copy_box(void* to, const TensorMap& map, int column, int row, int block,
                     std::uint64_t* barrier, simt::Site site = simt::Site::here()) {
  simt::copy_box(to, map, column, row, block, barrier, site);
}
inline void async_fence() {}
inline void named_sync(int id, int threads, simt::Site site = simt::Site::here()) {
  simt::named_barrier(id, threads, true, site);
}
inline void named_arrive(int id, int threads, simt::Site site = simt::Site::here()) {
  simt::named_barrier(id, threads, false, site);
}
template <int kCount>
void fewer_registers() {}
template <int kCount>
void more_registers() {}
inline float exp2_fast(float x) { return std::exp2(x); }

inline void products_begin() {}
inline void products_commit() { simt::products_commit(); }
template <int kTiles>
void hold(float (&)[kTiles][4]) {}
template <int kGroups, int kTiles>
void products_wait(float (&)[kTiles][4], simt::Site site = simt::Site::here()) {
  simt::products_wait(kGroups, site);
}

template <class T>
auto value_of() {
  static_assert(std::is_same_v<T, F16> || std::is_same_v<T, BF16>);
  return std::is_same_v<T, F16> ? &simt::f16_to_f32 : &simt::bf16_to_f32;
}
template <class T>
void multiply_shared(float (&c)[16][4], std::uint64_t a, std::uint64_t b, bool add,
                     simt::Site site = simt::Site::here()) {
  simt::product({&c[0][0], 16, add, nullptr, a, b, false, value_of<T>()}, site);
}
template <class T, int kTiles>
void multiply_registers(float (&c)[kTiles][4], const std::uint32_t (&a)[4], std::uint64_t b,
                        simt::Site site = simt::Site::here()) {
  simt::product({&c[0][0], kTiles, true, a, 0, b, true, value_of<T>()}, site);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS::dev
