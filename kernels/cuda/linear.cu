#include "kernels/cuda/linear_tiles.h"
#include "kernels/cuda/quant_dispatch.h"
#include "kernels/packed_parts.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

/// All but the input's format, which the two entry points check.
void multiply(Stream stream, TensorView out, const TensorView& in, const float* in_scales,
              const WeightView& weight, const TensorView& bias) {
  const TensorView& tensor = weight.tensor;
  VRAMPLAN_CHECK(weight.packing == 0);
  VRAMPLAN_CHECK(in.columns == tensor.columns && out.columns == tensor.rows);
  VRAMPLAN_CHECK(in.rows == out.rows);
  VRAMPLAN_CHECK(bias.data == nullptr ||
                 (bias.dtype == DType::kF32 && bias.rows * bias.columns == tensor.rows));
  if (!is_activation(out.dtype)) {
    unsupported("linear", std::string("version for ") + info(out.dtype).name + " activations");
  }
  if (out.rows == 0 || out.columns == 0) return;
  LinearArguments arguments;
  arguments.out = out.data;
  arguments.in = in.data;
  arguments.bias = static_cast<const float*>(bias.data);
  arguments.tokens = in.rows;
  arguments.in_dtype = in.dtype;
  arguments.in_scales = in_scales;
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

}  // namespace

void linear(Stream stream, TensorView out, TensorView in, const WeightView& weight,
            TensorView bias) {
  if (!is_activation(in.dtype)) {
    unsupported("linear", std::string("version for ") + info(in.dtype).name + " activations");
  }
  multiply(stream, out, in, nullptr, weight, bias);
}

void linear_fp8(Stream stream, TensorView out, TensorView in, const float* in_scales,
                const WeightView& weight, TensorView bias) {
  VRAMPLAN_CHECK(in.dtype == DType::kF8E4M3 && in_scales != nullptr);
  if (!has_fp8_rows(weight.tensor.dtype)) {
    unsupported("linear_fp8", std::string("version for ") + info(weight.tensor.dtype).name);
  }
  multiply(stream, out, in, in_scales, weight, bias);
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
