#pragma once
// The C++ side of kernels/cuda/dev.h: CUDA's spelling and the dev:: functions over the fiber
// runtime. The device twin of every function is in kernels/cuda/dev_nvcc.h.
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "float_bits.h"
#include "launch_log.h"
#include "simt.h"
#include "tensor_core.h"

#define VRAMPLAN_KERNEL void
#define VRAMPLAN_BOUNDS(threads)
#define VRAMPLAN_DEVICE inline
#define VRAMPLAN_SHARED(type, name, count) \
  static char name##_key;                  \
  type* const name = static_cast<type*>(   \
      ::simt::shared(&name##_key, sizeof(type) * (count), ::simt::Site::here()))
#define VRAMPLAN_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(::simt::dynamic_shared())

#define threadIdx (::simt::thread_index())
#define blockIdx (::simt::block_index())
#define blockDim (::simt::block_dim())
#define gridDim (::simt::grid_dim())

inline void __syncthreads(simt::Site site = simt::Site::here()) { simt::barrier(site); }
inline void __syncwarp(unsigned mask = 0xffffffffU, simt::Site site = simt::Site::here()) {
  simt::collective(
      "__syncwarp", [](void* const*, std::uint32_t) {}, nullptr, mask, simt::Ordering::kMemory,
      site);
}
inline void __threadfence() {}

namespace simt {

enum class Move : std::uint8_t { kIndex, kUp, kDown, kXor };

/// What a lane brings to a shuffle and takes from it.
template <class T>
struct Shuffled {
  T value;
  Move move;
  int argument, width;
  T result;
  int missing;  // the lane read outside the mask, or -1
};

template <class T>
VRAMPLAN_NO_RACES void shuffle_lanes(void* const* payload, std::uint32_t mask) {
  for (int lane = 0; lane < 32; ++lane) {
    auto* own = static_cast<Shuffled<T>*>(payload[lane]);
    if (own == nullptr) continue;
    const int base = lane & ~(own->width - 1), within = lane - base;
    int source = within;
    switch (own->move) {
      case Move::kIndex:
        source = own->argument & (own->width - 1);
        break;
      case Move::kUp:
        source = within - own->argument;
        break;
      case Move::kDown:
        source = within + own->argument;
        break;
      case Move::kXor:
        source = within ^ own->argument;
        break;
    }
    if (source < 0 || source >= own->width) source = within;  // out of range: the own value
    source += base;
    own->missing = ((mask >> source) & 1U) != 0 ? -1 : source;
    if (own->missing < 0) own->result = static_cast<Shuffled<T>*>(payload[source])->value;
  }
}

template <class T>
T shuffle(const char* name, std::uint32_t mask, T value, Move move, int argument, int width,
          Site site) {
  Shuffled<T> own{value, move, argument, width, value, -1};
  collective(name, &shuffle_lanes<T>, &own, mask, Ordering::kValues, site);
  if (own.missing >= 0) {
    fault(std::string(name) + " reads lane " + std::to_string(own.missing) + ", not in its mask",
          site);
  }
  return own.result;
}

struct Vote {
  std::uint64_t value;
  std::uint64_t result;
};

template <class Combine>
VRAMPLAN_NO_RACES void vote_lanes(void* const* payload, std::uint32_t) {
  std::uint64_t sum = 0;
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    const auto* v = static_cast<const Vote*>(payload[lane]);
    if (v == nullptr) continue;
    sum = first ? Combine{}(v->value, lane) : Combine{}(sum, v->value, lane);
    first = false;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (payload[lane] != nullptr) static_cast<Vote*>(payload[lane])->result = sum;
  }
}

template <class Combine>
std::uint64_t vote(const char* name, std::uint32_t mask, std::uint64_t value, Combine, Site site) {
  Vote own{value, 0};
  collective(name, &vote_lanes<Combine>, &own, mask, Ordering::kValues, site);
  return own.result;
}

struct BallotOf {
  std::uint64_t operator()(std::uint64_t v, int lane) const {
    return (v != 0 ? 1ULL : 0ULL) << lane;
  }
  std::uint64_t operator()(std::uint64_t sum, std::uint64_t v, int lane) const {
    return sum | (*this)(v, lane);
  }
};
struct SumOf {
  std::uint64_t operator()(std::uint64_t v, int) const { return v; }
  std::uint64_t operator()(std::uint64_t sum, std::uint64_t v, int) const { return sum + v; }
};
struct MaxOf {
  std::uint64_t operator()(std::uint64_t v, int) const { return v; }
  std::uint64_t operator()(std::uint64_t most, std::uint64_t v, int) const {
    return most < v ? v : most;
  }
};
struct MinOf {
  std::uint64_t operator()(std::uint64_t v, int) const { return v; }
  std::uint64_t operator()(std::uint64_t least, std::uint64_t v, int) const {
    return v < least ? v : least;
  }
};

}  // namespace simt

template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, simt::Site s = simt::Site::here()) {
  return simt::shuffle("__shfl_sync", mask, v, simt::Move::kIndex, source, width, s);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32,
                 simt::Site s = simt::Site::here()) {
  return simt::shuffle("__shfl_up_sync", mask, v, simt::Move::kUp, static_cast<int>(d), width, s);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32,
                   simt::Site s = simt::Site::here()) {
  return simt::shuffle("__shfl_down_sync", mask, v, simt::Move::kDown, static_cast<int>(d), width,
                       s);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int d, int width = 32, simt::Site s = simt::Site::here()) {
  return simt::shuffle("__shfl_xor_sync", mask, v, simt::Move::kXor, d, width, s);
}
inline unsigned __ballot_sync(unsigned mask, int v, simt::Site s = simt::Site::here()) {
  return static_cast<unsigned>(
      simt::vote("__ballot_sync", mask, v != 0 ? 1 : 0, simt::BallotOf{}, s));
}
inline int __any_sync(unsigned mask, int v, simt::Site s = simt::Site::here()) {
  return simt::vote("__any_sync", mask, v != 0 ? 1 : 0, simt::MaxOf{}, s) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int v, simt::Site s = simt::Site::here()) {
  return simt::vote("__all_sync", mask, v != 0 ? 1 : 0, simt::MinOf{}, s) != 0 ? 1 : 0;
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned v, simt::Site s = simt::Site::here()) {
  return static_cast<unsigned>(simt::vote("__reduce_add_sync", mask, v, simt::SumOf{}, s));
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned v, simt::Site s = simt::Site::here()) {
  return static_cast<unsigned>(simt::vote("__reduce_max_sync", mask, v, simt::MaxOf{}, s));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned v, simt::Site s = simt::Site::here()) {
  return static_cast<unsigned>(simt::vote("__reduce_min_sync", mask, v, simt::MinOf{}, s));
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
  const std::uint64_t both = (std::uint64_t{b} << 32) | a;
  unsigned out = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned byte = static_cast<unsigned>(both >> (8 * ((select >> (4 * i)) & 7U))) & 255U;
    out |= byte << (8 * i);
  }
  return out;
}

// Atomics: fibers share one operating-system thread, so that loading and storing is atomic enough;
// the order of threads around it is the schedule's. Relaxed, as on a device.
namespace simt {
template <class T, class Change>
T atomically(T* address, Change change) {
  yield_point();
  const std::atomic_ref<T> shared(*address);
  const T before = shared.load(std::memory_order_relaxed);
  shared.store(change(before), std::memory_order_relaxed);
  return before;
}
}  // namespace simt

template <class T, class U>
T atomicAdd(T* address, U value) {
  return simt::atomically(address,
                          [=](T before) { return static_cast<T>(before + static_cast<T>(value)); });
}
template <class T, class U>
T atomicMax(T* address, U value) {
  return simt::atomically(address, [=](T before) {
    return before < static_cast<T>(value) ? static_cast<T>(value) : before;
  });
}
template <class T, class U>
T atomicMin(T* address, U value) {
  return simt::atomically(address, [=](T before) {
    return static_cast<T>(value) < before ? static_cast<T>(value) : before;
  });
}
template <class T, class U>
T atomicExch(T* address, U value) {
  return simt::atomically(address, [=](T) { return static_cast<T>(value); });
}
template <class T, class U>
T atomicOr(T* address, U value) {
  return simt::atomically(address,
                          [=](T before) { return static_cast<T>(before | static_cast<T>(value)); });
}
template <class T, class U, class V>
T atomicCAS(T* address, U compare, V value) {
  return simt::atomically(address, [=](T before) {
    return before == static_cast<T>(compare) ? static_cast<T>(value) : before;
  });
}

namespace vramplan::cuda::VRAMPLAN_KERNELS::dev {

using Dim3 = simt::Dim3;
struct alignas(8) U2 {
  std::uint32_t x, y;
};
struct alignas(16) U4 {
  std::uint32_t x, y, z, w;
};
struct alignas(16) F4 {
  float x, y, z, w;
};

inline unsigned linear_thread() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
inline unsigned block_threads() { return static_cast<unsigned>(blockDim.count()); }

inline float as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t as_bits(float x) { return std::bit_cast<std::uint32_t>(x); }

inline float to_f32(float x) { return x; }
inline float to_f32(F16 x) { return simt::f16_to_f32(x.bits); }
inline float to_f32(BF16 x) { return simt::bf16_to_f32(x.bits); }
inline float to_f32(F8 x) { return simt::e4m3_to_f32(x.bits); }

template <class T>
T from_f32(float x) {
  if constexpr (std::is_same_v<T, float>) return x;
  if constexpr (std::is_same_v<T, F16>) return {simt::f32_to_f16(x)};
  if constexpr (std::is_same_v<T, BF16>) return {simt::f32_to_bf16(x)};
  if constexpr (std::is_same_v<T, F8>) return {simt::f32_to_e4m3(x)};
}

template <class T>
std::uint32_t pack2(float low, float high) {
  return static_cast<std::uint32_t>(from_f32<T>(low).bits) |
         static_cast<std::uint32_t>(from_f32<T>(high).bits) << 16;
}
inline U2 f8x4_to_f16x4(std::uint32_t bytes) {
  const auto value = [&](int i) {
    return simt::e4m3_to_f32(static_cast<std::uint8_t>((bytes >> (8 * i)) & 255U));
  };
  return {pack2<F16>(value(0), value(1)), pack2<F16>(value(2), value(3))};
}

inline float exp2(float x) { return std::exp2(x); }
inline float exp(float x) { return std::exp(x); }
inline float log2(float x) { return std::log2(x); }
inline float tanh(float x) { return std::tanh(x); }
inline float erf(float x) { return std::erf(x); }
inline float inverse_sqrt(float x) { return 1.0F / std::sqrt(x); }
inline float multiply(float a, float b) { return a * b; }
inline void sin_cos_turns(float turns, float& sine, float& cosine) {
  const double angle = 6.283185307179586 * static_cast<double>(turns);
  sine = static_cast<float>(std::sin(angle));
  cosine = static_cast<float>(std::cos(angle));
}
inline float round_even(float x) { return std::nearbyint(x); }
inline double floor(double x) { return std::floor(x); }

template <class V>
void require_alignment(const void* p, simt::Site site) {
  if (reinterpret_cast<std::uintptr_t>(p) % alignof(V) != 0) {
    simt::fault("a vector of " + std::to_string(sizeof(V)) + " bytes is not aligned", site);
  }
}
template <class V>
V load(const void* p, simt::Site site = simt::Site::here()) {
  require_alignment<V>(p, site);
  return *static_cast<const V*>(p);
}
template <class V>
void store(void* p, V v, simt::Site site = simt::Site::here()) {
  require_alignment<V>(p, site);
  *static_cast<V*>(p) = v;
}

inline void copy16_async(void* to, const void* from, bool valid,
                         simt::Site site = simt::Site::here()) {
  simt::async_copy(to, from, 16, valid ? 16 : 0, site);
}
inline void copy_commit() { simt::async_commit(); }
template <int kGroups>
void copy_wait() {
  simt::async_wait(kGroups);
}

inline void load_matrices(std::uint32_t (&out)[4], const void* row,
                          simt::Site site = simt::Site::here()) {
  simt::load_matrices(out, row, false, site);
}
inline void load_matrices_transposed(std::uint32_t (&out)[4], const void* row,
                                     simt::Site site = simt::Site::here()) {
  simt::load_matrices(out, row, true, site);
}
template <class T>
void multiply_tile(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                   simt::Site site = simt::Site::here()) {
  static_assert(std::is_same_v<T, F16> || std::is_same_v<T, BF16>);
  simt::multiply_tile(c, a, b0, b1, std::is_same_v<T, F16> ? &simt::f16_to_f32 : &simt::bf16_to_f32,
                      site);
}

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), Dim3 grid, Dim3 block,
            std::size_t dynamic_shared_bytes, Stream stream, Arguments... arguments) {
  auto work = [=] {
    simt::note_launch(reinterpret_cast<const void*>(kernel), simt::current_seed());
    simt::launch(name, grid, block, dynamic_shared_bytes,
                 [=] { kernel(static_cast<Parameters>(arguments)...); });
  };
  if (simt::current_enqueue() != nullptr) {
    simt::current_enqueue()(stream.handle, work);
  } else {
    work();
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS::dev
