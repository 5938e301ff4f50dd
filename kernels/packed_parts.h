#pragma once
// PackedParts: weights as published checkpoints pack them: codes of a matrix [rows, columns] and
// beside them the scales, zero points and indices that decode them (packed_rule of
// modelcards/dtype.h). One tensor holds the parts one after another, in the order of PackedParts.
// Not rearranged by pack().
//
// fp8-tensor: e4m3 [rows, columns]; then f32 weight_scale and input_scale.
// fp8-channel, int8-channel: e4m3 or i8 [rows, columns]; bf16 scale [rows].
// fp8-block: e4m3 [rows, columns]; f32 scale [rows / 128, columns / 128], both rounded up.
// awq-int4 (-g64, -g32): u32 [columns, rows / 8] with nibbles of rows 0 2 4 6 1 3 5 7; f16 scale
// [groups, rows]; zeros u32 [groups, rows / 8] in the same order.
// gptq-int4 (-g64, -g32): u32 [columns / 8, rows] with nibbles of columns 0..7; f16 scale
// [groups, rows]; zeros less 1, u32 [groups, rows / 8] with nibbles of rows 0..7; i32 group
// [columns].
// packed-int4 (-g64, -g32, -channel): u32 [rows, columns / 8] of codes + 8; bf16 scale
// [rows, groups]; i64 shape [2].
//
// Source: AutoAWQ WQLinear_GEMM, GPTQModel QuantLinear, compressed-tensors pack-quantized, the FP8
// checkpoints of DeepSeek-V3.
#include <cstdint>
#include <string>

#include "modelcards/dtype.h"
#include "modelcards/error.h"

namespace vramplan {

/// How the codes of a packed format lie; kNone for formats without a reader.
enum class PackedKind : std::uint8_t { kNone, kFp8, kInt8, kAwq, kGptq, kWords };

inline PackedKind packed_kind(DType dtype) {
  switch (dtype) {
    case DType::kFp8Tensor:
    case DType::kFp8Channel:
    case DType::kFp8Block:
      return PackedKind::kFp8;
    case DType::kInt8Channel:
      return PackedKind::kInt8;
    case DType::kAwqI4:
    case DType::kAwqI4G64:
    case DType::kAwqI4G32:
      return PackedKind::kAwq;
    case DType::kGptqI4:
    case DType::kGptqI4G64:
    case DType::kGptqI4G32:
      return PackedKind::kGptq;
    case DType::kPackedI4:
    case DType::kPackedI4G64:
    case DType::kPackedI4G32:
    case DType::kPackedI4Channel:
      return PackedKind::kWords;
    default:
      return PackedKind::kNone;
  }
}
/// Whether kernels compute with it.
inline bool is_packed_weight(DType dtype) { return packed_kind(dtype) != PackedKind::kNone; }

/// fp8 weights with at most one scale a row: a sum over a row of them and fp8 inputs takes its
/// scales once, at the end.
inline bool has_fp8_rows(DType dtype) {
  return dtype == DType::kF8E4M3 || dtype == DType::kFp8Tensor || dtype == DType::kFp8Channel;
}

/// Byte offsets of the parts of a packed tensor; a part may be empty.
struct PackedParts {
  std::int64_t scales = 0, zeros = 0, groups = 0, matrix = 0;
  std::int64_t group = 0;  // columns that share a scale
};

/// Errors: kUnsupported by name for a format without a reader, or a shape that does not fill its
/// words.
inline PackedParts packed_parts(DType dtype, std::int64_t rows, std::int64_t columns) {
  const PackedKind kind = packed_kind(dtype);
  const bool eights = kind == PackedKind::kAwq || kind == PackedKind::kGptq;
  if (kind == PackedKind::kNone || (eights && rows % 8 != 0) ||
      (kind == PackedKind::kWords && columns % 8 != 0)) {
    throw Error(ErrorCode::kUnsupported, std::string("a matrix of ") + std::to_string(rows) +
                                             " x " + std::to_string(columns) + " packed as " +
                                             info(dtype).name)
        .at("", "--weights")
        .help(
            "fp8-tensor, fp8-channel, fp8-block, int8-channel, awq-int4, gptq-int4 and "
            "packed-int4 run, the last three on rows or columns that are multiples of 8");
  }
  const PackedRule& rule = *packed_rule(dtype);
  PackedParts parts;
  parts.group = rule.group > 0 ? rule.group : columns;
  std::int64_t groups = rule.group == PackedRule::kPerMatrix ? 0 : rows * (columns / parts.group);
  if (rule.group == PackedRule::kPerBlock) groups = ceil_div(rows, 128) * ceil_div(columns, 128);
  parts.scales = ceil_div(rows * columns * rule.bits, 8);
  parts.zeros = parts.scales + rule.scale_bytes * groups;
  parts.groups = parts.zeros + ceil_div(groups * rule.zero_bits, 8);
  parts.matrix = parts.groups + rule.column_bytes * columns;
  VRAMPLAN_CHECK(Bytes{parts.matrix + rule.matrix_bytes} == bytes_of(dtype, rows, columns));
  return parts;
}

}  // namespace vramplan
