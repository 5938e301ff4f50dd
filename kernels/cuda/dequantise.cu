#include "kernels/cuda/dequantise.cuh"

#include "kernels/cuda/quant_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

void dequantise(Stream stream, TensorView out, const WeightView& weight) {
  const TensorView& tensor = weight.tensor;
  VRAMPLAN_CHECK(weight.packing == 0);
  VRAMPLAN_CHECK(out.rows == tensor.rows && out.columns == tensor.columns);
  VRAMPLAN_CHECK(aligned(out.data, 8));
  if (out.rows == 0) return;
  const WeightRows rows = weight_rows("dequantise", tensor);
  const unsigned grid = grid_stride_blocks(rows.rows * ceil_div(rows.columns, 32) * 4, 256);
  with_format("dequantise", tensor.dtype, [&](auto format) {
    constexpr DType kFormat = decltype(format)::value;
    const auto run = [&](auto tag) {
      using T = typename decltype(tag)::type;
      dev::launch("dequantise", &dequantise_kernel<kFormat, T>, grid, 256, 0, stream,
                  static_cast<T*>(out.data), rows.data, rows.rows, rows.columns, rows.row_bytes,
                  rows.vector);
    };
    if (out.dtype == DType::kF16) return run(Tag<F16>{});
    if (out.dtype == DType::kBF16) return run(Tag<BF16>{});
    unsupported("dequantise", std::string(info(out.dtype).name) + " output");
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
