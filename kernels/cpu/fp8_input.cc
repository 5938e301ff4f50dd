#include "kernels/cpu/fp8_input.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace vramplan::cpu {
namespace {

constexpr float kLargest = 448.0F;

/// f8_to_f32(f32_to_f8(y)) without a branch, so that it becomes vectors. From 2^-6 on 3 bits of the
/// mantissa stay; below it, adding 2^14 rounds to multiples of 2^-9.
float to_e4m3_value(float y) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(y);
  const std::uint32_t sign = u & 0x80000000U, magnitude = u & 0x7fffffffU;
  const std::uint32_t kept = (magnitude + 0x7ffffU + ((magnitude >> 20) & 1U)) & 0xfff00000U;
  const float small = (std::bit_cast<float>(magnitude) + 16384.0F) - 16384.0F;
  const std::uint32_t rounded =
      magnitude < 0x3c800000U ? std::bit_cast<std::uint32_t>(small) : kept;
  constexpr std::uint32_t kMost = std::bit_cast<std::uint32_t>(kLargest);
  const std::uint32_t held = rounded < kMost ? rounded : kMost;
  return magnitude > 0x7f800000U ? y : std::bit_cast<float>(sign | held);
}

}  // namespace

void round_row_to_fp8(const float* x, std::int64_t count, float* out) {
  float most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float magnitude = std::abs(x[i]);
    most = most < magnitude ? magnitude : most;
  }
  const float share = most / kLargest;
  const float scale = share < std::numeric_limits<float>::min() ? 1.0F : share;
  for (std::int64_t i = 0; i < count; ++i) out[i] = to_e4m3_value(x[i] / scale) * scale;
}

}  // namespace vramplan::cpu
