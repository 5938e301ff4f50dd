#pragma once
// Products of f32, f16, bf16 and fp8 (e4m3, without a scale) weights with f32 activations.
//
// A packed panel holds 16 rows column by column: element (row r, column c) at c * 16 + r.
#include <cstdint>

#include "modelcards/dtype.h"

namespace vramplan::cpu {

bool is_dense_weight(DType dtype);  // f32, f16, bf16 or fp8

/// Interleaves 16 consecutive plain rows of `columns` elements; the two do not overlap.
void pack_dense_panel(DType dtype, std::int64_t columns, const void* rows, void* panel);

/// out[t * out_stride + r] = sum over columns of panel row r times x[t] (+ bias[r]) for 16 rows and
/// t in [token_begin, token_end). x [tokens, columns]; bias: 16 values or null.
void dense_panel_product(DType dtype, std::int64_t columns, const void* panel, const float* x,
                         std::int64_t token_begin, std::int64_t token_end, const float* bias,
                         float* out, std::int64_t out_stride);

/// The same for `row_count` (1..4) consecutive plain rows.
void dense_row_product(DType dtype, std::int64_t columns, const void* rows, int row_count,
                       const float* x, std::int64_t token_begin, std::int64_t token_end,
                       const float* bias, float* out, std::int64_t out_stride);

/// A part of the columns of an f32 panel: x and panel begin at its first column; `adds` to what out
/// holds, which the part before has written, and not the bias.
struct F32PanelPart {
  const float* panel;
  std::int64_t columns;
  const float* x;
  std::int64_t x_stride;
  bool adds;
};
void f32_panel_part(const F32PanelPart& part, std::int64_t token_begin, std::int64_t token_end,
                    const float* bias, float* out, std::int64_t out_stride);

}  // namespace vramplan::cpu
