#pragma once
// Element-by-element kernels: activation functions, sums, caps. One thread an element, grid-stride.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

VRAMPLAN_DEVICE std::int64_t first_element() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
VRAMPLAN_DEVICE std::int64_t element_stride() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

/// silu x / (1 + e^-x); gelu x * Phi(x); its tanh form; relu.
/// Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units".
VRAMPLAN_DEVICE float activate(GateKind kind, float x) {
  if (kind == GateKind::kSilu) return x / (1.0F + dev::exp(-x));
  if (kind == GateKind::kGelu) return 0.5F * x * (1.0F + dev::erf(x * 0.70710678118654752F));
  if (kind == GateKind::kGeluTanh) {
    return 0.5F * x * (1.0F + dev::tanh(0.79788456080286536F * (x + 0.044715F * x * x * x)));
  }
  return dev::most(x, 0.0F);
}

template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256)
    gated_activation_kernel(T* gate, const T* up, std::int64_t n, GateKind kind) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const float value = activate(kind, dev::to_f32(gate[i]));
    gate[i] = dev::from_f32<T>(up == nullptr ? value : value * dev::to_f32(up[i]));
  }
}

template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256) add_kernel(T* x, const T* y, std::int64_t n) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    x[i] = dev::from_f32<T>(dev::to_f32(x[i]) + dev::to_f32(y[i]));
  }
}

/// x [rows, columns] += bias [columns] f32.
template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256)
    add_bias_kernel(T* x, const float* bias, std::int64_t n, std::int64_t columns) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    x[i] = dev::from_f32<T>(dev::to_f32(x[i]) + bias[i % columns]);
  }
}

template <class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256) softcap_kernel(T* x, std::int64_t n, float cap) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    x[i] = dev::from_f32<T>(cap * dev::tanh(dev::to_f32(x[i]) / cap));
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
