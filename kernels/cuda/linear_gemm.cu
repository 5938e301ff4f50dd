#include "kernels/cuda/linear_tiles.h"
#include "kernels/cuda/quant_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

template <DType F, int kTile>
void run(Stream stream, const LinearArguments& arguments) {
  const dev::Dim3 grid(extent("linear", ceil_div(arguments.rows, kGemmRows)),
                       extent("linear", ceil_div(arguments.tokens, kTile), 65535));
  dev::launch("gemm", &gemm_kernel<F, kTile>, grid, 256, 0, stream, arguments);
}

}  // namespace

void linear_gemm(Stream stream, DType weight, const LinearArguments& arguments) {
  with_format("linear", weight, [&](auto format) {
    constexpr DType kFormat = decltype(format)::value;
    if (arguments.tokens <= 32) return run<kFormat, 32>(stream, arguments);
    run<kFormat, 64>(stream, arguments);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
