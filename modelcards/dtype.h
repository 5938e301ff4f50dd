#pragma once
// DType: how the elements of a tensor are encoded, and the exact bytes that takes. Block formats
// count whole blocks; a row whose length is no multiple of the block is an error.
#include <cstdint>
#include <optional>
#include <string>

#include "modelcards/units.h"

namespace vramplan {

enum class DType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kF8E4M3,
  kI8,
  kI32,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  // From here on: known for their exact bytes only; files hold them, no kernel computes with them.
  kQ8_K,
  kIq1S,
  kIq1M,
  kIq2Xxs,
  kIq2Xs,
  kIq2S,
  kIq3Xxs,
  kIq3S,
  kIq4Nl,
  kIq4Xs,
  kTq1_0,
  kTq2_0,
  kMxfp4,
  kNvfp4,
  kI16,
  kI64,
  kF64,
  kF8E5M2,
  kF8E8M0,
  kF4,
  kI4,
  // Formats of a KV cache: codes of 2 or 4 bits in groups of 32 with an f16 scale and zero (KIVI).
  kKivi2,
  kKivi4,
  // Formats of published checkpoints: packed weights with their scales, zeros and tables counted.
  // Linear layers only; tables, heads, norms and routers stay in 16 bits.
  kFp8Tensor,
  kFp8Channel,
  kFp8Block,
  kInt8Channel,
  kAwqI4,
  kAwqI4G64,
  kAwqI4G32,
  kGptqI4,
  kGptqI4G64,
  kGptqI4G32,
  kGptqI8,
  kPackedI4,
  kPackedI4G64,
  kPackedI4G32,
  kPackedI4Channel,
  kNf4,
  kNf4Double,
  kBnbInt8,
  kMxfp4Packed,
  kNvfp4Packed,
};

struct DTypeInfo {
  const char* name;             // "q4_k"; the word in cards, flags and JSON
  std::int64_t block_elements;  // elements encoded together
  std::int64_t block_bytes;     // bytes of such a block, scales included
  std::int32_t ggml_type;       // number in a GGUF tensor header, -1 if none
};

/// Source of the block sizes: GGUF specification, ggml type table.
const DTypeInfo& info(DType dtype);
std::optional<DType> dtype_from_name(const std::string& name);  // "fp16" and "f16" are one
std::optional<DType> dtype_from_ggml(std::uint32_t ggml_type);
/// Rows of blocks that hold their own scales (GGUF, KIVI). A packed format (packed_rule) is none,
/// whether its scales are of groups, rows or tiles.
bool is_block_quantised(DType dtype);

/// How a packed format stores what decodes it. Bytes of one matrix [rows, columns]:
/// rows * columns * bits / 8 + groups * (scale_bytes + zero_bits / 8) + columns * column_bytes +
/// matrix_bytes; groups = rows * columns / group, or rows (kPerRow), or blocks of 128 x 128
/// (kPerBlock), or none (kPerMatrix: the scale is in matrix_bytes).
struct PackedRule {
  static constexpr std::int64_t kPerRow = 0, kPerBlock = -1, kPerMatrix = -2;
  std::int64_t bits = 8;
  std::int64_t group = kPerMatrix;  // inputs that share a scale
  std::int64_t scale_bytes = 0;
  std::int64_t zero_bits = 0;         // a zero point of a group
  std::int64_t column_bytes = 0;      // g_idx of GPTQ: the group of each input, 32 bits
  std::int64_t matrix_bytes = 0;      // per matrix: scales, stored shapes
  std::int64_t scales_per_scale = 0;  // nested scales: one f32 per this many scales
};
/// Null for formats that are not packed. Source: the checkpoint layouts of AutoAWQ, GPTQ,
/// compressed-tensors, bitsandbytes, ModelOpt and FP8 of DeepSeek (see the table).
const PackedRule* packed_rule(DType dtype);

/// rows * columns elements, each row encoded by itself; of a packed format `matrices` of
/// [rows / matrices, columns] each with its own scales.
/// Errors: kBadCard when columns is no multiple of the block.
Bytes bytes_of(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t matrices = 1);
/// Of a large tensor: what a pass reads. 0.5195 for awq-int4.
double bytes_per_element(DType dtype);

}  // namespace vramplan
