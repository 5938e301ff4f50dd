#include "kernels/cuda/linear_tiles.h"
#include "kernels/cuda/quant_dispatch.h"
#include "kernels/packed_parts.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
void linear(Stream stream, TensorView out, TensorView in, const WeightView& weight,
            TensorView bias) {
  const TensorView& tensor = weight.tensor;
  VRAMPLAN_CHECK(weight.packing == 0);
  VRAMPLAN_CHECK(in.columns == tensor.columns && out.columns == tensor.rows);
  VRAMPLAN_CHECK(in.rows == out.rows);
  VRAMPLAN_CHECK(bias.data == nullptr ||
                 (bias.dtype == DType::kF32 && bias.rows * bias.columns == tensor.rows));
  for (const TensorView& view : {in, out}) {
    if (!is_activation(view.dtype)) {
      unsupported("linear", std::string("version for ") + info(view.dtype).name + " activations");
    }
  }
  if (out.rows == 0 || out.columns == 0) return;
  LinearArguments arguments;
  arguments.out = out.data;
  arguments.in = in.data;
  arguments.bias = static_cast<const float*>(bias.data);
  arguments.tokens = in.rows;
  arguments.in_dtype = in.dtype;
  arguments.out_dtype = out.dtype;
  if (is_packed_weight(tensor.dtype)) {
    return linear_packed(stream, tensor, arguments);
  }
  const WeightRows rows = weight_rows("linear", tensor);
  arguments.weight = rows.data;
  arguments.rows = rows.rows;
  arguments.columns = rows.columns;
  arguments.row_bytes = rows.row_bytes;
  arguments.vector = rows.vector;
  if (arguments.tokens <= kMostGemvTokens) {
    linear_gemv(stream, tensor.dtype, arguments);
  } else {
    linear_gemm(stream, tensor.dtype, arguments);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
