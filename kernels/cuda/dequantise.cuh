#pragma once
// Weights of any format to 16-bit rows, for a matrix product by the GEMM library.
#include "kernels/cuda/quant.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// One thread a part of eight elements, grid-stride over all parts of all rows.
template <DType F, class T>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(256)
    dequantise_kernel(T* out, const std::uint8_t* weight, std::int64_t rows, std::int64_t n,
                      std::int64_t row_bytes, bool vector) {
  const std::int64_t row_parts = (n + 31) / 32 * 4;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       p < rows * row_parts; p += stride) {
    const std::int64_t row = p / row_parts, part = p % row_parts;
    const int j = static_cast<int>(part % 4);
    float w[8];
    dev::load_part<F>(weight + row * row_bytes, part / 4, j, n, vector, w);
    const std::int64_t column = part / 4 * 32 + 4 * j;
    T* to = out + row * n + column;
    if (n % 32 == 0) {
      dev::store(to, dev::U2{dev::pack2<T>(w[0], w[1]), dev::pack2<T>(w[2], w[3])});
      dev::store(to + 16, dev::U2{dev::pack2<T>(w[4], w[5]), dev::pack2<T>(w[6], w[7])});
      continue;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int at = i < 4 ? i : i + 12;
      if (column + at < n) to[at] = dev::from_f32<T>(w[i]);
    }
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
