// embed and add_rows: single rows of a table, which may be packed.
#include <string>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/dense_gemm.h"
#include "kernels/cpu/dequantise.h"
#include "kernels/cpu/quant_pack.h"

namespace vramplan::cpu {
namespace {

/// Elements [32 * sub, 32 * sub + n) of a row that lies in a packed panel; n <= 32.
void read_packed(const WeightView& table, std::int64_t row, std::int64_t sub, std::int64_t n,
                 float* out) {
  const TensorView& t = table.tensor;
  const std::int64_t row_bytes = bytes_of(t.dtype, 1, t.columns).n;
  const auto* panel = static_cast<const std::uint8_t*>(t.data) + row / kPanel * kPanel * row_bytes;
  const std::int64_t lane = row % kPanel;
  if (is_dense_weight(t.dtype)) {
    const std::int64_t size = info(t.dtype).block_bytes;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t element = (sub * kSubBlock + i) * kPanel + lane;
      dequantise_row(t.dtype, panel + element * size, out + i, 1);
    }
    return;
  }
  const QuantFormat& format = quant_format(t.dtype);
  SubBlock block;
  read_packed_sub_block(format, t.columns, panel, static_cast<int>(lane), sub, block);
  dequantise_sub_block(format, block, out);
}

/// out[i] = out[i] * keep + row[i] * scale.
void accumulate_row(const WeightView& table, std::int64_t row, float keep, float scale,
                    float* out) {
  const TensorView& t = table.tensor;
  if (row < 0 || row >= t.rows) {
    throw Error(ErrorCode::kUsage,
                "row " + std::to_string(row) + " of a table of " + std::to_string(t.rows) + " rows")
        .help("token ids must be below the vocabulary, positions below the learned positions");
  }
  const bool packed = table.packing == kInterleaved16 && row < t.rows / kPanel * kPanel;
  const DTypeInfo& shape = info(t.dtype);
  const auto* plain =
      static_cast<const std::uint8_t*>(t.data) + row * bytes_of(t.dtype, 1, t.columns).n;
  float values[256];
  const std::int64_t step = packed || shape.block_elements == 1 ? kSubBlock : shape.block_elements;
  for (std::int64_t c = 0; c < t.columns; c += step) {
    const std::int64_t n = c + step <= t.columns ? step : t.columns - c;
    if (packed) {
      read_packed(table, row, c / kSubBlock, n, values);
    } else {
      dequantise_row(t.dtype, plain + c / shape.block_elements * shape.block_bytes, values, n);
    }
    for (std::int64_t i = 0; i < n; ++i) {
      out[c + i] = (keep != 0.0F ? out[c + i] : 0.0F) + values[i] * scale;
    }
  }
}

}  // namespace

void CpuOps::embed(TensorView out, const WeightView& table, std::span<const std::int32_t> ids,
                   float scale) {
  require_supported_weight(table.tensor.dtype);
  VRAMPLAN_CHECK(out.columns == table.tensor.columns);
  VRAMPLAN_CHECK(out.rows == static_cast<std::int64_t>(ids.size()));
  float* y = f32_data(out);
  for (std::int64_t t = 0; t < out.rows; ++t) {
    accumulate_row(table, ids[static_cast<std::size_t>(t)], 0.0F, scale, y + t * out.columns);
  }
}

void CpuOps::add_rows(TensorView out, const WeightView& table,
                      std::span<const std::int32_t> positions) {
  require_supported_weight(table.tensor.dtype);
  VRAMPLAN_CHECK(out.columns == table.tensor.columns);
  VRAMPLAN_CHECK(out.rows == static_cast<std::int64_t>(positions.size()));
  float* y = f32_data(out);
  for (std::int64_t t = 0; t < out.rows; ++t) {
    accumulate_row(table, positions[static_cast<std::size_t>(t)], 1.0F, 1.0F, y + t * out.columns);
  }
}

}  // namespace vramplan::cpu
