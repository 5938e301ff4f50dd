#pragma once
// Activations as 8-bit codes, 32 at a time, for products with block-quantised weights.
#include <cstdint>

#include "kernels/cpu/quant_blocks.h"

namespace vramplan::cpu {

/// What the 4 bytes beside each scale hold; it depends on the weight format they will meet.
///   zero point (q4_0, q5_0, q8_0): int32, -zero * sum of codes
///   minimum (q4_1, q5_1, q4_k, q5_k): f32, -scale * sum of codes
///   halves (16 elements a scale): two int16, the sums of codes 0..15 and 16..31
enum class SumKind : std::uint8_t { kZeroPoint, kMinimum, kHalves };
SumKind sum_kind(const QuantFormat& format);

/// Views into the linear's workspace: 40 bytes per 32 inputs and token, as kernels/workspace.h
/// says.
struct QuantInput {
  std::int64_t tokens = 0, columns = 0;  // columns: a multiple of 32
  std::int8_t* codes = nullptr;          // [tokens, columns]
  float* scales = nullptr;               // [tokens, columns / 32]
  std::int32_t* sums = nullptr;          // [tokens, columns / 32], see SumKind

  std::int64_t blocks() const { return columns / kSubBlock; }
};

QuantInput quant_input_in(void* workspace, std::int64_t tokens, std::int64_t columns);

/// Quantises row `x` to token `token`: scale = max|x| / 127, rounded to the 11 significant bits of
/// an f16 like GGUF's q8_0 and q8_1; code = nearest integer of x * 127 / max|x|. A NaN or infinity
/// in a block makes its scale NaN or infinite.
void quantise_input_row(const QuantInput& input, std::int64_t token, const float* x,
                        const QuantFormat& weight);

}  // namespace vramplan::cpu
