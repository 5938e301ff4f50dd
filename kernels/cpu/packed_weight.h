#pragma once
// Weights as published checkpoints pack them: codes of a matrix [rows, columns] and beside them the
// scales, zero points and indices that decode them (packed_rule of modelcards/dtype.h). One tensor
// holds the parts one after another, in the order of PackedParts. Not rearranged by pack().
//
//   fp8-tensor               e4m3 [rows, columns]; then f32 weight_scale, f32 input_scale
//   fp8-channel              e4m3 [rows, columns]; bf16 scale [rows]
//   fp8-block                e4m3 [rows, columns]; f32 scale [rows / 128, columns / 128], rounded
//   up int8-channel             i8 [rows, columns]; bf16 scale [rows] awq-int4 (-g64, -g32)    u32
//   [columns, rows / 8], nibbles of rows 0 2 4 6 1 3 5 7; f16 scale
//                            [groups, rows]; zeros u32 [groups, rows / 8], in the same order
//   gptq-int4 (-g64, -g32)   u32 [columns / 8, rows], nibbles of columns 0..7; f16 scale
//                            [groups, rows]; zeros less 1, u32 [groups, rows / 8], nibbles of rows
//                            0..7; i32 group [columns]
//   packed-int4 (-g64, -g32, -channel)  u32 [rows, columns / 8], codes + 8; bf16 scale
//                            [rows, groups]; i64 shape [2]
//
// Source: AutoAWQ WQLinear_GEMM, GPTQModel QuantLinear, compressed-tensors pack-quantized, the FP8
// checkpoints of DeepSeek-V3.
#include <cstddef>
#include <cstdint>

#include "kernels/tensor.h"

namespace vramplan::cpu {

/// Whether dequantise_packed reads it.
bool is_packed_weight(DType dtype);

/// Byte offsets of the parts of a packed tensor; a part may be empty.
struct PackedParts {
  std::int64_t scales = 0, zeros = 0, groups = 0, matrix = 0;
  std::int64_t group = 0;  // columns that share a scale
};
/// Errors: kUnsupported by name for a format without a reader, or rows that do not fill its words.
PackedParts packed_parts(DType dtype, std::int64_t rows, std::int64_t columns);

/// out[count, columns] = rows row..row + count of the matrix. count <= 4.
void dequantise_packed(const TensorView& weight, std::int64_t row, int count, float* out);

}  // namespace vramplan::cpu
