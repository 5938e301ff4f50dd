#pragma once
// Products of packed block-quantised weights with 8-bit activations.
#include <cstdint>

#include "kernels/cpu/quant_input.h"
#include "kernels/cpu/quant_pack.h"

namespace vramplan::cpu {

/// out[t * out_stride + r] = sum over columns of panel row r times token t (+ bias[r]), for the 16
/// rows of a panel and t in [token_begin, token_end). bias: 16 values or null.
void quant_panel_product(const QuantFormat& format, const std::uint8_t* panel,
                         const QuantInput& input, std::int64_t token_begin, std::int64_t token_end,
                         const float* bias, float* out, std::int64_t out_stride);

/// The same for one plain row: out[t * out_stride]. Scalar; the oracle of the above, and the path
/// of rows that fill no panel.
void quant_row_product(const QuantFormat& format, const std::uint8_t* row, const QuantInput& input,
                       std::int64_t token_begin, std::int64_t token_end, float bias, float* out,
                       std::int64_t out_stride);

}  // namespace vramplan::cpu
