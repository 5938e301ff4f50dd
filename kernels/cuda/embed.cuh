#pragma once
// Rows out of tables: token embeddings and learned positions (tables of any weight format), and
// rows of activations. A block takes one output row; a thread takes parts of eight elements.
#include "kernels/cuda/quant.cuh"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// out[t, :] = table[ids[t], :] * scale, or += when kAdd.
template <DType F, bool kAdd>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    table_rows_kernel(void* out, DType out_dtype, const std::uint8_t* table, std::int64_t row_bytes,
                      std::int64_t n, bool vector, const std::int32_t* ids, float scale) {
  const std::int64_t t = blockIdx.x;
  const std::uint8_t* row = table + ids[t] * row_bytes;
  const std::int64_t parts = (n + 31) / 32 * 4;
  for (std::int64_t p = threadIdx.x; p < parts; p += blockDim.x) {
    float w[8];
    dev::load_part<F>(row, p / 4, static_cast<int>(p % 4), n, vector, w);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const std::int64_t column = p / 4 * 32 + 4 * (p % 4) + (i < 4 ? i : i + 12);
      if (column >= n) continue;
      const std::int64_t at = t * n + column;
      const float value = kAdd ? dev::load_as(out_dtype, out, at) + w[i] : w[i] * scale;
      dev::store_as(out_dtype, out, at, value);
    }
  }
}

/// out[i, :] = x[rows[i], :], as bytes; a row is `words` units of W.
template <class W>
VRAMPLAN_KERNEL VRAMPLAN_BOUNDS(128)
    gather_rows_kernel(W* out, const W* x, const std::int32_t* rows, std::int64_t words) {
  const std::int64_t i = blockIdx.x;
  const W* from = x + rows[i] * words;
  for (std::int64_t w = threadIdx.x; w < words; w += blockDim.x) out[i * words + w] = from[w];
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
