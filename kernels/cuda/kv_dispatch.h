#pragma once
// From the format of a KV cache to the template that reads and writes its rows. Host only.
#include "kernels/cuda/kv_view.cuh"
#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// f(Tag<C>) for every format of a KV cache. Errors: kUnsupported.
template <class F>
void with_kv(const char* kernel, DType dtype, F&& f) {
  switch (dtype) {
    case DType::kI8:
      return f(Tag<KvI8>{});
    case DType::kQ8_0:
      return f(Tag<KvQ8_0>{});
    case DType::kQ4_0:
      return f(Tag<KvQ4_0>{});
    default:
      with_plain(kernel, dtype, f);
  }
}

/// Errors: kUnsupported for heads that do not divide into the format's blocks.
inline void check_kv_width(const char* kernel, DType dtype, std::int64_t width) {
  const std::int64_t unit = dtype == DType::kI8 ? 4 : info(dtype).block_elements;
  if (width % unit == 0) return;
  unsupported(kernel, std::string("version for a KV cache of ") + info(dtype).name +
                          " with heads of " + std::to_string(width) + " elements");
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
