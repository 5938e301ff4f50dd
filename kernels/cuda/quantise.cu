#include "kernels/cuda/quantise.cuh"

#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

void quantise_rows(Stream stream, TensorView out, float* scales, TensorView in) {
  VRAMPLAN_CHECK(out.dtype == DType::kF8E4M3 && scales != nullptr);
  VRAMPLAN_CHECK(out.rows == in.rows && out.columns == in.columns);
  if (in.rows == 0 || in.columns == 0) return;
  with_activation("quantise_rows", in.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("quantise_rows", &quantise_rows_kernel<T>, extent("quantise_rows", in.rows), 256, 0,
                stream, static_cast<F8*>(out.data), scales, static_cast<const T*>(in.data),
                in.columns);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
