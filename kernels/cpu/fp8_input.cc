#include "kernels/cpu/fp8_input.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/half.h"

namespace vramplan::cpu {

void round_row_to_fp8(const float* x, std::int64_t count, float* out) {
  constexpr float kLargest = 448.0F;
  float most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float magnitude = std::abs(x[i]);
    most = most < magnitude ? magnitude : most;
  }
  const float share = most / kLargest;
  const float scale = share < std::numeric_limits<float>::min() ? 1.0F : share;
  for (std::int64_t i = 0; i < count; ++i) out[i] = f8_to_f32(f32_to_f8(x[i] / scale)) * scale;
}

}  // namespace vramplan::cpu
