#pragma once
// Functions of a vector built from the operations of simd.h.
#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {  // each file has its own copy, for its own vector width

/// 1 - 2 / (e^2x + 1); absolute error about 1e-7.
[[maybe_unused]] inline Vf tanh(Vf x) {
  return set1(1.0F) - set1(2.0F) / (exp(x + x) + set1(1.0F));
}

/// Lane i of the result is the sum of the lanes of v[i].
[[maybe_unused]] inline Vf reduce_lanes(const Vf (&v)[kLanes]) {
#if defined(VRAMPLAN_AVX512)
  // Pairs, then fours inside 128 bits, then across the four 128-bit parts.
  __m512 a[8], b[4];
  for (int i = 0; i < 8; ++i) {
    a[i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]) + _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(a[2 * i]), y = _mm512_castps_pd(a[2 * i + 1]);
    b[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y)) + _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
  }
  const __m512 c = _mm512_shuffle_f32x4(b[0], b[1], 0x88) + _mm512_shuffle_f32x4(b[0], b[1], 0xdd);
  const __m512 d = _mm512_shuffle_f32x4(b[2], b[3], 0x88) + _mm512_shuffle_f32x4(b[2], b[3], 0xdd);
  return _mm512_shuffle_f32x4(c, d, 0x88) + _mm512_shuffle_f32x4(c, d, 0xdd);
#elif defined(VRAMPLAN_AVX2)
  __m256 a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]) + _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    const __m256d x = _mm256_castps_pd(a[2 * i]), y = _mm256_castps_pd(a[2 * i + 1]);
    b[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(x, y)) + _mm256_castpd_ps(_mm256_unpackhi_pd(x, y));
  }
  return _mm256_permute2f128_ps(b[0], b[1], 0x20) + _mm256_permute2f128_ps(b[0], b[1], 0x31);
#else
  Vf out = zero();
  for (int i = 0; i < kLanes; ++i) out[i] = reduce_add(v[i]);
  return out;
#endif
}

}  // namespace
}  // namespace vramplan::cpu
