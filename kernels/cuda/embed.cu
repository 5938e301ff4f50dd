#include "kernels/cuda/embed.cuh"

#include "kernels/cuda/quant_dispatch.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {
namespace {

template <bool kAdd>
void table_rows(const char* name, Stream stream, TensorView out, TensorView table,
                const std::int32_t* ids, float scale) {
  VRAMPLAN_CHECK(out.columns == table.columns);
  if (!is_activation(out.dtype)) unsupported(name, std::string(info(out.dtype).name) + " output");
  if (out.rows == 0) return;
  const WeightRows rows = weight_rows(name, table);
  with_format(name, table.dtype, [&](auto format) {
    dev::launch(name, &table_rows_kernel<decltype(format)::value, kAdd>, extent(name, out.rows),
                128, 0, stream, out.data, out.dtype, rows.data, rows.row_bytes, rows.columns,
                rows.vector, ids, scale);
  });
}

}  // namespace

void embed(Stream stream, TensorView out, TensorView table, const std::int32_t* ids, float scale) {
  table_rows<false>("embed", stream, out, table, ids, scale);
}

void add_rows(Stream stream, TensorView out, TensorView table, const std::int32_t* positions) {
  table_rows<true>("add_rows", stream, out, table, positions, 1.0F);
}

void gather_rows(Stream stream, TensorView out, TensorView x, const std::int32_t* rows) {
  VRAMPLAN_CHECK(out.columns == x.columns && out.dtype == x.dtype);
  if (!is_activation(x.dtype))
    unsupported("gather_rows", std::string(info(x.dtype).name) + " rows");
  if (out.rows == 0) return;
  const std::int64_t bytes = bytes_of(x.dtype, 1, x.columns).n;
  const unsigned grid = extent("gather_rows", out.rows);
  if (bytes % 16 == 0 && aligned(out.data, 16) && aligned(x.data, 16)) {
    dev::launch("gather_rows", &gather_rows_kernel<dev::U4>, grid, 128, 0, stream,
                static_cast<dev::U4*>(out.data), static_cast<const dev::U4*>(x.data), rows,
                bytes / 16);
  } else {
    dev::launch("gather_rows", &gather_rows_kernel<std::uint16_t>, grid, 128, 0, stream,
                static_cast<std::uint16_t*>(out.data), static_cast<const std::uint16_t*>(x.data),
                rows, bytes / 2);
  }
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
