// rope: rotary positions.
#include <bit>

#include "kernels/cpu/cpu_ops.h"

namespace vramplan::cpu {
namespace {

struct SinCos {
  double sin, cos;
};

/// sin and cos to about 1e-11 for |angle| < 1e8, without branches so that a loop over pairs becomes
/// vector code: subtract the nearest multiple of pi/2, series in the rest, then the quadrant.
inline SinCos sin_cos(double angle) {
  constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const double shifted = angle * 0.63661977236758134308 + kMagic;
  const double k = shifted - kMagic;
  const double r = (angle - k * 1.57079632679489655800) - k * 6.12323399573676603587e-17;
  const double z = r * r;
  const double s =
      r + r * z *
              (-1.0 / 6 +
               z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800)))));
  const double c =
      1.0 +
      z * (-0.5 +
           z * (1.0 / 24 + z * (-1.0 / 720 +
                                z * (1.0 / 40320 + z * (-1.0 / 3628800 + z * (1.0 / 479001600))))));
  const auto quadrant = std::bit_cast<std::uint64_t>(shifted);
  const double a = (quadrant & 1U) != 0 ? c : s, b = (quadrant & 1U) != 0 ? s : c;
  return {(quadrant & 2U) != 0 ? -a : a, ((quadrant + 1U) & 2U) != 0 ? -b : b};
}

void rotate_halves(float* x, const float* cos, const float* sin, std::int64_t pairs) {
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float a = x[i], b = x[i + pairs];
    x[i] = a * cos[i] - b * sin[i];
    x[i + pairs] = a * sin[i] + b * cos[i];
  }
}

void rotate_interleaved(float* x, const float* cos, const float* sin, std::int64_t pairs) {
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = a * sin[i] + b * cos[i];
  }
}

}  // namespace

void CpuOps::rope(TensorView x, std::span<const std::int32_t> positions, const RopeParams& params) {
  const std::int64_t pairs = params.rotary_dim / 2, head_dim = params.head_dim;
  VRAMPLAN_CHECK(head_dim > 0 && x.columns % head_dim == 0);
  VRAMPLAN_CHECK(params.rotary_dim % 2 == 0 && params.rotary_dim <= head_dim);
  VRAMPLAN_CHECK(x.rows == static_cast<std::int64_t>(positions.size()));
  VRAMPLAN_CHECK(pairs * 8 <= kScratchBytes);
  if (pairs == 0) return;
  float* data = f32_data(x);
  const std::int64_t chunk = kElementsPerChunk / x.columns + 1;
  pool_.parallel_for(x.rows, chunk, [&](std::int64_t first, std::int64_t last, int thread) {
    float* cos = scratch(thread);
    float* sin = cos + pairs;
    for (std::int64_t t = first; t < last; ++t) {
      const auto position = static_cast<double>(positions[static_cast<std::size_t>(t)]);
      for (std::int64_t i = 0; i < pairs; ++i) {
        const SinCos value = sin_cos(position * static_cast<double>(params.inverse_frequency[i]));
        cos[i] = static_cast<float>(value.cos) * params.magnitude;
        sin[i] = static_cast<float>(value.sin) * params.magnitude;
      }
      for (std::int64_t c = 0; c < x.columns; c += head_dim) {
        float* head = data + t * x.columns + c;
        if (params.interleaved) {
          rotate_interleaved(head, cos, sin, pairs);
        } else {
          rotate_halves(head, cos, sin, pairs);
        }
      }
    }
  });
}

}  // namespace vramplan::cpu
