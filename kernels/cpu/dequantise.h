#pragma once
// Dequantisation of one row: every weight format to f32.
#include <cstdint>

#include "kernels/cpu/quant_blocks.h"

namespace vramplan::cpu {

/// out[0..n) = the n elements of the plain (unpacked) row at `row`; n is a multiple of the format's
/// block. Products and differences are rounded one at a time, as the format's definition does.
/// Errors: kUnsupported for a format that the kernels do not read.
void dequantise_row(DType dtype, const void* row, float* out, std::int64_t n);

/// The 32 values of a decoded sub-block.
void dequantise_sub_block(const QuantFormat& format, const SubBlock& block, float* out);

/// Errors: kUnsupported, naming the format, unless dequantise_row reads it.
void require_supported_weight(DType dtype);

}  // namespace vramplan::cpu
