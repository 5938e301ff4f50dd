#include "tests/fake_cuda/host_linear.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/dequantise.h"
#include "kernels/packed_parts.h"
#include "tests/fake_cuda/host_values.h"

namespace vramplan::cuda::host {

void linear(Stream stream, TensorView out, TensorView in, const WeightView& weight,
            TensorView bias) {
  later(stream, [=] {
    Values o(out, false), i(in);
    std::vector<std::byte> scratch(static_cast<std::size_t>(
        math().linear_workspace(in.rows, in.columns, weight.tensor.dtype).n));
    math().linear(o.view(), i.view(), weight, bias,
                  {scratch.data(), DType::kI8, 1, static_cast<std::int64_t>(scratch.size())});
    o.done();
  });
}

/// The factor of a weight's row: the matrix's, its own, or none.
float row_scale(const TensorView& weight, std::int64_t row) {
  if (weight.dtype == DType::kF8E4M3) return 1.0F;
  const PackedParts parts = packed_parts(weight.dtype, weight.rows, weight.columns);
  const auto* const base = static_cast<const std::byte*>(weight.data);
  if (weight.dtype == DType::kFp8Tensor) {
    return *reinterpret_cast<const float*>(base + parts.matrix);
  }
  return cpu::bf16_to_f32(reinterpret_cast<const std::uint16_t*>(base + parts.scales)[row]);
}

void quantise_rows(Stream stream, TensorView out, float* scales, TensorView in,
                   float* weight_scales, const TensorView& weight) {
  later(stream, [=] {
    Values values(in);
    const auto* x = static_cast<const float*>(values.view().data);
    auto* codes = static_cast<std::uint8_t*>(out.data);
    for (std::int64_t t = 0; t < in.rows; ++t, x += in.columns, codes += in.columns) {
      float most = 0;
      for (std::int64_t i = 0; i < in.columns; ++i) most = std::max(most, std::abs(x[i]));
      scales[t] = most > 0 ? most / 448.0F : 1.0F;
      for (std::int64_t i = 0; i < in.columns; ++i) codes[i] = cpu::f32_to_f8(x[i] / scales[t]);
    }
    if (weight_scales == nullptr) return;
    for (std::int64_t r = 0; r < weight.rows; ++r) weight_scales[r] = row_scale(weight, r);
  });
}

void linear_fp8(Stream stream, TensorView out, TensorView in, const float* in_scales,
                const WeightView& weight, TensorView bias) {
  const TensorView w = weight.tensor;
  later(stream, [=] {
    Values o(out, false);
    auto* const y = static_cast<float*>(o.view().data);
    const auto* const codes = static_cast<const std::uint8_t*>(in.data);
    const auto* const matrix = static_cast<const std::uint8_t*>(w.data);
    for (std::int64_t t = 0; t < out.rows; ++t) {
      for (std::int64_t r = 0; r < w.rows; ++r) {
        float sum = 0;
        for (std::int64_t i = 0; i < w.columns; ++i) {
          sum +=
              cpu::f8_to_f32(codes[t * w.columns + i]) * cpu::f8_to_f32(matrix[r * w.columns + i]);
        }
        sum *= in_scales[t] * row_scale(w, r);
        y[t * w.rows + r] = sum + (bias.data ? static_cast<const float*>(bias.data)[r] : 0.0F);
      }
    }
    o.done();
  });
}

void dequantise(Stream stream, TensorView out, const WeightView& weight) {
  later(stream, [=] {
    Values o(out, false);
    const TensorView values = o.view();
    const std::int64_t row_bytes = bytes_of(weight.tensor.dtype, 1, out.columns).n;
    for (std::int64_t r = 0; r < out.rows; ++r) {
      cpu::dequantise_row(weight.tensor.dtype,
                          static_cast<const std::byte*>(weight.tensor.data) + r * row_bytes,
                          static_cast<float*>(values.data) + r * out.columns, out.columns);
    }
    o.done();
  });
}

void add_bias(Stream stream, TensorView x, TensorView bias) {
  later(stream, [=] {
    Values values(x);
    auto* const at = static_cast<float*>(values.view().data);
    const auto* const b = static_cast<const float*>(bias.data);
    for (std::int64_t i = 0; i < x.rows * x.columns; ++i) at[i] += b[i % x.columns];
    values.done();
  });
}

}  // namespace vramplan::cuda::host
