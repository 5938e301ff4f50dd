#include "kernels/cuda/norm.cuh"

#include "kernels/cuda/launch_shape.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

constexpr std::int64_t kWarpElements = 512;  // longest group a single warp takes
constexpr unsigned kWarpsPerBlock = 4;

void check(TensorView out, TensorView x, TensorView weight) {
  VRAMPLAN_CHECK(out.rows == x.rows && out.columns == x.columns && out.dtype == x.dtype);
  VRAMPLAN_CHECK(weight.dtype == DType::kF32 && weight.rows == 1 && weight.columns > 0);
  VRAMPLAN_CHECK(x.columns % weight.columns == 0 && weight.columns <= (1 << 30));
}

}  // namespace

void rmsnorm(Stream stream, TensorView out, TensorView x, TensorView weight, float eps,
             bool one_plus) {
  check(out, x, weight);
  const std::int64_t n = weight.columns, groups = x.rows * (x.columns / n);
  if (groups == 0) return;
  const float plus = one_plus ? 1.0F : 0.0F;
  with_activation("rmsnorm", x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto* scale = static_cast<const float*>(weight.data);
    if (n <= kWarpElements) {
      dev::launch("rmsnorm", &rmsnorm_warp_kernel<T>,
                  extent("rmsnorm", ceil_div(groups, kWarpsPerBlock)),
                  dev::Dim3(32, kWarpsPerBlock), 0, stream, static_cast<T*>(out.data),
                  static_cast<const T*>(x.data), scale, groups, static_cast<int>(n), eps, plus);
    } else {
      dev::launch("rmsnorm", &rmsnorm_block_kernel<T>, extent("rmsnorm", groups), 256, 0, stream,
                  static_cast<T*>(out.data), static_cast<T*>(x.data), nullptr, scale,
                  static_cast<int>(n), eps, plus);
    }
  });
}

void add_rmsnorm(Stream stream, TensorView out, TensorView x, TensorView p, TensorView weight,
                 float eps, bool one_plus) {
  check(out, x, weight);
  VRAMPLAN_CHECK(p.rows == x.rows && p.columns == x.columns && p.dtype == x.dtype);
  VRAMPLAN_CHECK(weight.columns == x.columns && out.data != x.data);
  if (x.rows == 0) return;
  with_activation("add_rmsnorm", x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("add_rmsnorm", &rmsnorm_block_kernel<T>, extent("add_rmsnorm", x.rows), 256, 0,
                stream, static_cast<T*>(out.data), static_cast<T*>(x.data),
                static_cast<const T*>(p.data), static_cast<const float*>(weight.data),
                static_cast<int>(x.columns), eps, one_plus ? 1.0F : 0.0F);
  });
}

void layernorm(Stream stream, TensorView out, TensorView x, TensorView weight, TensorView bias,
               float eps) {
  check(out, x, weight);
  VRAMPLAN_CHECK(bias.dtype == DType::kF32 && bias.columns == x.columns);
  VRAMPLAN_CHECK(weight.columns == x.columns);
  if (x.rows == 0) return;
  with_activation("layernorm", x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    dev::launch("layernorm", &layernorm_kernel<T>, extent("layernorm", x.rows), 256, 0, stream,
                static_cast<T*>(out.data), static_cast<const T*>(x.data),
                static_cast<const float*>(weight.data), static_cast<const float*>(bias.data),
                static_cast<int>(x.columns), eps);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
