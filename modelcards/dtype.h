#pragma once
// DType: how the elements of a tensor are encoded, and the exact bytes that takes. Block formats
// count whole blocks; a row whose length is no multiple of the block is an error.
#include <cstdint>
#include <optional>
#include <string>

#include "modelcards/units.h"

namespace vramplan {

enum class DType : std::uint8_t {
  kF32, kF16, kBF16, kF8E4M3, kI8, kI32,
  kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0,
  kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K,
  // From here on: known for their exact bytes only; files hold them, no kernel computes with them.
  kQ8_K, kIq1S, kIq1M, kIq2Xxs, kIq2Xs, kIq2S, kIq3Xxs, kIq3S, kIq4Nl, kIq4Xs,
  kTq1_0, kTq2_0, kMxfp4, kNvfp4, kI16, kI64, kF64, kF8E5M2, kF8E8M0, kF4,
};

struct DTypeInfo {
  const char* name;              // "q4_k"; the word in cards, flags and JSON
  std::int64_t block_elements;   // elements encoded together
  std::int64_t block_bytes;      // bytes of such a block, scales included
  std::int32_t ggml_type;        // number in a GGUF tensor header, -1 if none
};

/// Source of the block sizes: GGUF specification, ggml type table.
const DTypeInfo& info(DType dtype);
std::optional<DType> dtype_from_name(const std::string& name);   // "fp16" and "f16" are one
std::optional<DType> dtype_from_ggml(std::uint32_t ggml_type);
bool is_block_quantised(DType dtype);

/// rows * columns elements, each row encoded by itself.
/// Errors: kBadCard when columns is no multiple of the block.
Bytes bytes_of(DType dtype, std::int64_t rows, std::int64_t columns);

}  // namespace vramplan
