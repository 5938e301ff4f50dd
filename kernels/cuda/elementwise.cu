#include "kernels/cuda/elementwise.cuh"

#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {
constexpr int kThreads = 256;
}

void gated_activation(Stream stream, TensorView gate, TensorView up, GateKind kind) {
  VRAMPLAN_CHECK(up.data == nullptr || (up.rows == gate.rows && up.columns == gate.columns));
  VRAMPLAN_CHECK(up.data == nullptr || up.dtype == gate.dtype);
  const std::int64_t n = gate.rows * gate.columns;
  if (n == 0) return;
  with_activation("gated_activation", gate.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("gated_activation", &gated_activation_kernel<T>, grid_stride_blocks(n, kThreads),
                kThreads, 0, stream, static_cast<T*>(gate.data), static_cast<const T*>(up.data), n,
                kind);
  });
}

void add(Stream stream, TensorView x, TensorView y) {
  VRAMPLAN_CHECK(x.rows == y.rows && x.columns == y.columns && x.dtype == y.dtype);
  const std::int64_t n = x.rows * x.columns;
  if (n == 0) return;
  with_activation("add", x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("add", &add_kernel<T>, grid_stride_blocks(n, kThreads), kThreads, 0, stream,
                static_cast<T*>(x.data), static_cast<const T*>(y.data), n);
  });
}

void add_bias(Stream stream, TensorView x, TensorView bias) {
  VRAMPLAN_CHECK(bias.dtype == DType::kF32 && bias.columns == x.columns && bias.rows == 1);
  const std::int64_t n = x.rows * x.columns;
  if (n == 0) return;
  with_activation("add_bias", x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("add_bias", &add_bias_kernel<T>, grid_stride_blocks(n, kThreads), kThreads, 0,
                stream, static_cast<T*>(x.data), static_cast<const float*>(bias.data), n,
                x.columns);
  });
}

void softcap(Stream stream, TensorView x, float cap) {
  VRAMPLAN_CHECK(cap > 0);
  const std::int64_t n = x.rows * x.columns;
  if (n == 0) return;
  with_activation("softcap", x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("softcap", &softcap_kernel<T>, grid_stride_blocks(n, kThreads), kThreads, 0, stream,
                static_cast<T*>(x.data), n, cap);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
