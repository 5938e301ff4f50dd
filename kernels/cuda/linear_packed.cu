#include "kernels/cuda/linear_tiles.h"
#include "kernels/cuda/quant_dispatch.h"
#include "kernels/packed_parts.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

/// f(Format<F>) for the reader of a packed format; see packed_weight.cuh.
template <class Function>
void with_packed(DType dtype, Function&& f) {
  switch (dtype) {
    case DType::kFp8Tensor:
    case DType::kFp8Channel:
    case DType::kFp8Block:
      return f(Format<DType::kFp8Block>{});
    case DType::kInt8Channel:
      return f(Format<DType::kInt8Channel>{});
    case DType::kAwqI4:
    case DType::kAwqI4G64:
    case DType::kAwqI4G32:
      return f(Format<DType::kAwqI4>{});
    case DType::kGptqI4:
    case DType::kGptqI4G64:
    case DType::kGptqI4G32:
      return f(Format<DType::kGptqI4>{});
    default:
      return f(Format<DType::kPackedI4>{});
  }
}

ScaleOf scale_of(DType dtype) {
  if (dtype == DType::kFp8Tensor) return ScaleOf::kMatrix;
  return dtype == DType::kFp8Block ? ScaleOf::kBlock : ScaleOf::kRow;
}

template <DType F, int kTokens>
void few(Stream stream, const LinearArguments& a) {
  const unsigned grid = extent("linear", ceil_div(a.rows, kGemvWarps * kGemvRows));
  dev::launch("gemv", &gemv_kernel<F, kTokens>, grid, 32 * kGemvWarps, 0, stream, a);
}

template <DType F>
void many(Stream stream, const LinearArguments& a) {
  const dev::Dim3 grid(extent("linear", ceil_div(a.rows, kGemmRows)),
                       extent("linear", ceil_div(a.tokens, 64), 65535));
  dev::launch("gemm", &gemm_kernel<F, 64>, grid, 256, 0, stream, a);
}

}  // namespace

void linear_packed(Stream stream, const TensorView& weight, LinearArguments a) {
  const PackedParts parts = packed_parts(weight.dtype, weight.rows, weight.columns);
  VRAMPLAN_CHECK(aligned(weight.data, 16));
  if (weight.columns % 32 != 0 || weight.rows % 8 != 0) {
    unsupported("linear", "version for " + std::to_string(weight.rows) + " x " +
                              std::to_string(weight.columns) + " packed as " +
                              info(weight.dtype).name + ": multiples of 8 and 32");
  }
  const auto* base = static_cast<const std::uint8_t*>(weight.data);
  const bool matrix = weight.dtype == DType::kFp8Tensor;
  a.weight = base;
  a.rows = weight.rows;
  a.columns = weight.columns;
  a.packed = {base + (matrix ? parts.matrix : parts.scales),
              base + parts.zeros,
              base + parts.groups,
              weight.rows,
              weight.columns,
              static_cast<int>(parts.group),
              scale_of(weight.dtype)};
  with_packed(weight.dtype, [&](auto format) {
    constexpr DType kFormat = decltype(format)::value;
    if (a.tokens == 1) return few<kFormat, 1>(stream, a);
    if (a.tokens <= kMostGemvTokens) return few<kFormat, 8>(stream, a);
    many<kFormat>(stream, a);
  });
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
