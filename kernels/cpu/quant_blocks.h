#pragma once
// Block-quantised formats of GGUF, described once. Every format is read 32 elements at a time:
// value = scale * (code - zero) - minimum, with one scale and minimum for 16 or 32 elements.
// Source: GGUF specification and the public block definitions of its formats.
#include <array>
#include <cstdint>

#include "modelcards/dtype.h"

namespace vramplan::cpu {

inline constexpr std::int64_t kSubBlock = 32;  // elements read together

/// Where a format keeps its parts inside a block, and how many bits a code has.
struct QuantFormat {
  DType dtype;
  int low_bits;     // 2, 4 or 8 bits of each code in the main array
  int high_bits;    // 0, 1 or 2 further bits in a second array
  int granule;      // elements that share a scale: 32 or 16
  int zero;         // subtracted from every code
  int half_count;   // f16 fields: scale, then minimum if there is one
  int half_offset;  // their place in the block; they lie side by side
  int byte_count;   // bytes of packed sub-block scales
  int byte_offset;
};

// dtype, low, high, granule, zero, halves, at, bytes, at.
inline constexpr std::array<QuantFormat, 10> kQuantFormats{{
    {DType::kQ4_0, 4, 0, 32, 8, 1, 0, 0, 0},
    {DType::kQ4_1, 4, 0, 32, 0, 2, 0, 0, 0},
    {DType::kQ5_0, 4, 1, 32, 16, 1, 0, 0, 0},
    {DType::kQ5_1, 4, 1, 32, 0, 2, 0, 0, 0},
    {DType::kQ8_0, 8, 0, 32, 128, 1, 0, 0, 0},
    {DType::kQ2_K, 2, 0, 16, 0, 2, 80, 16, 0},
    {DType::kQ3_K, 2, 1, 16, 4, 1, 108, 12, 96},
    {DType::kQ4_K, 4, 0, 32, 0, 2, 0, 12, 4},
    {DType::kQ5_K, 4, 1, 32, 0, 2, 0, 12, 4},
    {DType::kQ6_K, 4, 2, 16, 32, 1, 208, 16, 192},
}};

/// Errors: kUnsupported when the kernels do not read that format.
const QuantFormat& quant_format(DType dtype);
bool is_supported_quant(DType dtype);

/// 32 elements of a row, decoded. Halves 0 and 1 are elements 0..15 and 16..31; formats with one
/// scale for 32 elements fill both alike.
struct SubBlock {
  std::uint8_t codes[kSubBlock];
  float scale[2];
  float minimum[2];
};

/// The codes of sub-block `sub` (0-based in the row) of a plain row.
void read_codes(const QuantFormat& format, const std::uint8_t* row, std::int64_t sub,
                std::uint8_t* codes);
/// Scales of sub-block `sub` inside its block from the block's f16 fields and scale bytes.
void read_scales(const QuantFormat& format, const std::uint16_t* halves, const std::uint8_t* bytes,
                 std::int64_t sub, SubBlock& out);
/// Both, from a plain row.
void read_sub_block(const QuantFormat& format, const std::uint8_t* row, std::int64_t sub,
                    SubBlock& out);

}  // namespace vramplan::cpu
