#include "kernels/cuda/linear.cuh"

#include "kernels/cuda/quant_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

template <DType F, int kTokens>
void run_gemv(Stream stream, const LinearArguments& arguments) {
  const unsigned grid = extent("linear", ceil_div(arguments.rows, kGemvWarps * kGemvRows));
  dev::launch("gemv", &gemv_kernel<F, kTokens>, grid, 32 * kGemvWarps, 0, stream, arguments);
}

template <DType F, int kTile>
void run_gemm(Stream stream, const LinearArguments& arguments) {
  const dev::Dim3 grid(extent("linear", ceil_div(arguments.rows, kGemmRows)),
                       extent("linear", ceil_div(arguments.tokens, kTile), 65535));
  dev::launch("gemm", &gemm_kernel<F, kTile>, grid, 256, 0, stream, arguments);
}

template <DType F>
void run(Stream stream, const LinearArguments& arguments) {
  if (arguments.tokens == 1) return run_gemv<F, 1>(stream, arguments);
  if (arguments.tokens == 2) return run_gemv<F, 2>(stream, arguments);
  if (arguments.tokens <= 4) return run_gemv<F, 4>(stream, arguments);
  if (arguments.tokens <= 8) return run_gemv<F, 8>(stream, arguments);
  if (arguments.tokens <= 32) return run_gemm<F, 32>(stream, arguments);
  run_gemm<F, 64>(stream, arguments);
}

}  // namespace

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
  const WeightRows rows = weight_rows("linear", tensor);
  LinearArguments arguments;
  arguments.out = out.data;
  arguments.in = in.data;
  arguments.weight = rows.data;
  arguments.bias = static_cast<const float*>(bias.data);
  arguments.tokens = in.rows;
  arguments.rows = rows.rows;
  arguments.columns = rows.columns;
  arguments.row_bytes = rows.row_bytes;
  arguments.in_dtype = in.dtype;
  arguments.out_dtype = out.dtype;
  arguments.vector = rows.vector;
  with_format("linear", tensor.dtype,
              [&](auto format) { run<decltype(format)::value>(stream, arguments); });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
