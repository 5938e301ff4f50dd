#pragma once
// The bits of f16, bf16 and f8 e4m3 as floats and back, rounded to nearest even as the device does.
#include <bit>
#include <cstdint>

#include "kernels/cpu/half.h"

namespace simt {

inline float f16_to_f32(std::uint16_t bits) { return vramplan::cpu::f16_to_f32(bits); }
inline float bf16_to_f32(std::uint16_t bits) { return vramplan::cpu::bf16_to_f32(bits); }
inline std::uint16_t f32_to_f16(float x) { return vramplan::cpu::f32_to_f16(x); }
inline std::uint16_t f32_to_bf16(float x) { return vramplan::cpu::f32_to_bf16(x); }

/// e4m3: 1 sign, 4 exponent (bias 7), 3 mantissa bits; 0x7F is NaN; below 2^-6 multiples of 2^-9.
/// Source: Micikevicius et al. 2022, "FP8 formats for deep learning", table 1.
inline float e4m3_to_f32(std::uint8_t bits) {
  const unsigned exponent = (bits >> 3U) & 15U, mantissa = bits & 7U;
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 128U) << 24;
  if (exponent == 15U && mantissa == 7U) return std::bit_cast<float>(sign | 0x7fc00000U);
  if (exponent == 0U) {
    const float value = static_cast<float>(mantissa) * 0.001953125F;
    return sign != 0U ? -value : value;
  }
  return std::bit_cast<float>(sign | ((exponent + 120U) << 23) | (mantissa << 20));
}

/// Values above 448 and infinities become 448; NaN stays NaN.
inline std::uint8_t f32_to_e4m3(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 128U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return 0x7f;  // NaN loses its sign, as on the device
  if (magnitude >= 0x43e80000U) return static_cast<std::uint8_t>(sign | 0x7eU);  // 464 and above
  if (magnitude < 0x3c800000U) {  // below 2^-6: adding 2^14 rounds at multiples of 2^-9
    const float sum = std::bit_cast<float>(magnitude) + 16384.0F;
    return static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(sum) - 0x46800000U));
  }
  const std::uint32_t rounded = magnitude + 0x7ffffU + ((magnitude >> 20) & 1U);
  const std::uint32_t code = (rounded >> 20) - (120U << 3);
  return static_cast<std::uint8_t>(sign | (code > 0x7eU ? 0x7eU : code));
}

}  // namespace simt
