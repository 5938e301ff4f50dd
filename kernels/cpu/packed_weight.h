#pragma once
// Rows of packed weights (kernels/packed_parts.h) as f32, a few at a time.
#include "kernels/packed_parts.h"
#include "kernels/tensor.h"

namespace vramplan::cpu {

/// out[count, columns] = rows row..row + count of the matrix. count <= 4.
void dequantise_packed(const TensorView& weight, std::int64_t row, int count, float* out);

/// Formats that keep rows beside each other in memory, a column (AWQ) or eight (GPTQ) after
/// another: a row alone touches a cache line for each of its words, so many rows are read at once.
bool lies_by_columns(DType dtype);
inline constexpr std::int64_t kMostPanelRows = 128;  // a cache line of AWQ's words
/// Columns [column, column + count) of `rows` rows from `row` on as panels of 16 rows: element
/// (r, c) at out[(r / 16 * count + c) * 16 + r % 16], the values of dequantise_packed. Of formats
/// that lie_by_columns; rows: a multiple of 16 up to kMostPanelRows; column and count: multiples
/// of 8.
struct PanelPart {
  std::int64_t row, rows, column, count;
};
void dequantise_panels(const TensorView& weight, const PanelPart& part, float* out);

}  // namespace vramplan::cpu
