#include "kernels/cuda/quantise.cuh"

#include "kernels/cuda/launch_shape.h"
#include "kernels/packed_parts.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

WeightScales weight_scales_of(float* out, const TensorView& weight) {
  WeightScales scales;
  if (out == nullptr) return scales;
  VRAMPLAN_CHECK(has_fp8_rows(weight.dtype) && weight.data != nullptr);
  scales.out = out;
  scales.rows = weight.rows;
  if (weight.dtype == DType::kF8E4M3) return scales;
  const PackedParts parts = packed_parts(weight.dtype, weight.rows, weight.columns);
  scales.each_row = weight.dtype == DType::kFp8Channel;
  scales.stored =
      static_cast<const std::byte*>(weight.data) + (scales.each_row ? parts.scales : parts.matrix);
  if (!aligned(scales.stored, scales.each_row ? 2 : 4)) {
    unsupported("quantise_rows", "version for scales that begin at an odd byte");
  }
  return scales;
}

}  // namespace

void quantise_rows(Stream stream, TensorView out, float* scales, TensorView in,
                   float* weight_scales, const TensorView& weight) {
  VRAMPLAN_CHECK(out.dtype == DType::kF8E4M3 && scales != nullptr);
  VRAMPLAN_CHECK(out.rows == in.rows && out.columns == in.columns);
  if (in.rows == 0 || in.columns == 0) return;
  const WeightScales factors = weight_scales_of(weight_scales, weight);
  const std::int64_t blocks = in.rows + ceil_div(factors.rows, kQuantiseThreads);
  with_activation("quantise_rows", in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("quantise_rows", &quantise_rows_kernel<T>, extent("quantise_rows", blocks),
                kQuantiseThreads, 0, stream, static_cast<F8*>(out.data), scales,
                static_cast<const T*>(in.data), in.rows, in.columns, factors);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
