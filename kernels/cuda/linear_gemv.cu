#include "kernels/cuda/linear_tiles.h"
#include "kernels/cuda/quant_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

template <DType F, int kTokens>
void run(Stream stream, const LinearArguments& arguments) {
  const unsigned grid = extent("linear", ceil_div(arguments.rows, kGemvWarps * kGemvRows));
  dev::launch("gemv", &gemv_kernel<F, kTokens>, grid, 32 * kGemvWarps, 0, stream, arguments);
}

}  // namespace

void linear_gemv(Stream stream, DType weight, const LinearArguments& arguments) {
  VRAMPLAN_CHECK(arguments.tokens <= kMostGemvTokens);
  with_format("linear", weight, [&](auto format) {
    constexpr DType kFormat = decltype(format)::value;
    if (arguments.tokens == 1) return run<kFormat, 1>(stream, arguments);
    if (arguments.tokens == 2) return run<kFormat, 2>(stream, arguments);
    if (arguments.tokens <= 4) return run<kFormat, 4>(stream, arguments);
    run<kFormat, 8>(stream, arguments);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
