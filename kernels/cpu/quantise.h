#pragma once
// Quantisation of one row: f32 to the formats whose encoder only rounds: f32, f16, bf16, fp8 (e4m3
// without a scale) and the blocks of 32 elements of GGUF, q4_0, q4_1, q5_0, q5_1, q8_0. K-quants
// are none of them: published encoders search for their scales.
#include <cstdint>

#include "modelcards/dtype.h"

namespace vramplan::cpu {

/// Whether quantise_row writes that format.
bool is_rounded_format(DType dtype);

/// The n elements at `x` as one plain (unpacked) row of the format; n is a multiple of its block.
/// A block of 32: with the largest magnitude M, or the element of it m, or extremes low and high,
///   q8_0        scale = M / 127,             code = x / scale, half away from zero
///   q4_0, q5_0  scale = m / -8, m / -16,     code = floor(x / scale + 8.5, 16.5), at most 15, 31
///   q4_1, q5_1  scale = (high - low) / 15, 31, code = floor((x - low) / scale + 0.5), the same
///   most
/// in f32, x / scale being x * (1 / scale), and the scale stored in f16 after that.
/// Source: quantize_blocks of the gguf Python package (quants.py), whose bytes these are; a block
/// whose 1 / scale is no finite number has codes of value 0.
/// Errors: kUnsupported by name unless is_rounded_format.
void quantise_row(DType dtype, const float* x, void* row, std::int64_t n);

}  // namespace vramplan::cpu
