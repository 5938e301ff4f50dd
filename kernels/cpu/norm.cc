// rmsnorm and layernorm.
#include <cmath>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {

/// Sum of (x[i] - shift)^2. Vectors, then the tail; partial sums keep the error near 1e-7.
float sum_of_squares(const float* x, std::int64_t n, float shift) {
  Vf acc[4] = {zero(), zero(), zero(), zero()};
  std::int64_t i = 0;
  const Vf s = set1(shift);
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int k = 0; k < 4; ++k) {
      const Vf v = load(x + i + k * kLanes) - s;
      acc[k] = fma(v, v, acc[k]);
    }
  }
  float sum = reduce_add((acc[0] + acc[1]) + (acc[2] + acc[3]));
  for (; i < n; ++i) sum += (x[i] - shift) * (x[i] - shift);
  return sum;
}

float sum_of(const float* x, std::int64_t n) {
  Vf acc[2] = {zero(), zero()};
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    acc[0] = acc[0] + load(x + i);
    acc[1] = acc[1] + load(x + i + kLanes);
  }
  float sum = reduce_add(acc[0] + acc[1]);
  for (; i < n; ++i) sum += x[i];
  return sum;
}

}  // namespace

void CpuOps::rmsnorm(TensorView out, TensorView x, TensorView weight, float eps, bool one_plus) {
  const std::int64_t n = weight.columns;
  VRAMPLAN_CHECK(n > 0 && x.columns % n == 0 && x.rows == out.rows && x.columns == out.columns);
  const float* in = f32_data(x);
  const float* w = f32_data(weight);
  float* y = f32_data(out);
  const float offset = one_plus ? 1.0F : 0.0F;
  for_rows(x.rows * (x.columns / n), n, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t g = first; g < last; ++g) {
      const float* a = in + g * n;
      float* b = y + g * n;
      const float mean = sum_of_squares(a, n, 0.0F) / static_cast<float>(n);
      const float inverse = 1.0F / std::sqrt(mean + eps);
      for (std::int64_t i = 0; i < n; ++i) b[i] = a[i] * inverse * (w[i] + offset);
    }
  });
}

void CpuOps::layernorm(TensorView out, TensorView x, TensorView weight, TensorView bias,
                       float eps) {
  const std::int64_t n = x.columns;
  VRAMPLAN_CHECK(n > 0 && weight.columns == n && x.rows == out.rows && x.columns == out.columns);
  VRAMPLAN_CHECK(bias.data == nullptr || bias.columns == n);
  const float* in = f32_data(x);
  const float* w = f32_data(weight);
  const float* shift = bias.data == nullptr ? nullptr : f32_data(bias);
  float* y = f32_data(out);
  for_rows(x.rows, n, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      const float* a = in + r * n;
      float* b = y + r * n;
      const float mean = sum_of(a, n) / static_cast<float>(n);
      const float variance = sum_of_squares(a, n, mean) / static_cast<float>(n);
      const float inverse = 1.0F / std::sqrt(variance + eps);
      for (std::int64_t i = 0; i < n; ++i) {
        b[i] = (a[i] - mean) * inverse * w[i] + (shift == nullptr ? 0.0F : shift[i]);
      }
    }
  });
}

}  // namespace vramplan::cpu
