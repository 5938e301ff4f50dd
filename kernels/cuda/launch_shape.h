#pragma once
// What host entry points of kernels share: dtype dispatch, checks and grid arithmetic. Host only.
#include <cstdint>
#include <string>

#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

template <class T>
struct Tag {
  using type = T;
};

[[noreturn]] inline void unsupported(const char* kernel, const std::string& what) {
  throw Error(ErrorCode::kUnsupported,
              std::string("the CUDA kernel ") + kernel + " has no " + what);
}

/// f(Tag<T>) for the element type of an activation. Errors: kUnsupported.
template <class F>
void with_activation(const char* kernel, DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return f(Tag<float>{});
    case DType::kF16:
      return f(Tag<F16>{});
    case DType::kBF16:
      return f(Tag<BF16>{});
    default:
      unsupported(kernel, std::string("version for ") + info(dtype).name + " activations");
  }
}

/// f(Tag<T>) for the plain types: f32, f16, bf16, f8_e4m3. Errors: kUnsupported.
template <class F>
void with_plain(const char* kernel, DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF32:
      return f(Tag<float>{});
    case DType::kF16:
      return f(Tag<F16>{});
    case DType::kBF16:
      return f(Tag<BF16>{});
    case DType::kF8E4M3:
      return f(Tag<F8>{});
    default:
      unsupported(kernel, std::string("version for ") + info(dtype).name);
  }
}

inline bool is_activation(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

inline bool aligned(const void* p, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
}

/// A grid extent out of a count. Errors: kUnsupported above `limit`.
inline unsigned extent(const char* kernel, std::int64_t n, std::int64_t limit = 0x7fffffff) {
  VRAMPLAN_CHECK(n > 0);
  if (n > limit) unsupported(kernel, "launch shape for " + std::to_string(n) + " blocks");
  return static_cast<unsigned>(n);
}

/// Blocks of `threads` for n elements in a grid-stride loop: at most enough to fill a large device.
inline unsigned grid_stride_blocks(std::int64_t n, int threads) {
  const std::int64_t blocks = ceil_div(n, threads);
  return static_cast<unsigned>(blocks < 4096 ? blocks : 4096);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
