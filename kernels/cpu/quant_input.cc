#include "kernels/cpu/quant_input.h"

#include <bit>
#include <cstddef>

#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {

/// To 11 significant bits, nearest even: an f16's precision without its narrow range.
float round_to_half_precision(float x) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7f800000U) == 0x7f800000U) return x;
  return std::bit_cast<float>((u + 0xfffU + ((u >> 13) & 1U)) & ~0x1fffU);
}

/// The largest magnitude of 32 floats. Compared as integers, which puts infinity above every
/// number and NaN above infinity, so that neither is lost.
float max_magnitude(const float* x) {
  std::uint32_t most = 0;
  for (int i = 0; i < kSubBlock; ++i) {
    const std::uint32_t u = std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffU;
    most = u > most ? u : most;
  }
  return std::bit_cast<float>(most);
}

struct HalfSums {
  std::int32_t first = 0, second = 0;
};

/// codes = round(x * inverse), nearest even; returns their sums.
HalfSums round_codes(const float* x, float inverse, std::int8_t* codes) {
  HalfSums sums;
#if defined(VRAMPLAN_AVX512)
  const __m512 k = _mm512_set1_ps(inverse);
  // A NaN becomes the lowest integer; held at -127 its sums stay in range.
  const __m512i least = _mm512_set1_epi32(-127);
  const __m512i a =
      _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x), k)), least);
  const __m512i b =
      _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + 16), k)), least);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(codes), _mm512_cvtsepi32_epi8(a));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 16), _mm512_cvtsepi32_epi8(b));
  sums.first = _mm512_reduce_add_epi32(a);
  sums.second = _mm512_reduce_add_epi32(b);
#else
  for (int i = 0; i < kSubBlock; ++i) {
    // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    const float shifted = x[i] * inverse + 12582912.0F;
    const std::int32_t code = std::bit_cast<std::int32_t>(shifted) - 0x4b400000;
    codes[i] = static_cast<std::int8_t>(code);
    (i < 16 ? sums.first : sums.second) += codes[i];
  }
#endif
  return sums;
}

}  // namespace

SumKind sum_kind(const QuantFormat& format) {
  if (format.granule == 16) return SumKind::kHalves;
  return format.zero != 0 ? SumKind::kZeroPoint : SumKind::kMinimum;
}

QuantInput quant_input_in(void* workspace, std::int64_t tokens, std::int64_t columns) {
  QuantInput input;
  input.tokens = tokens;
  input.columns = columns;
  auto* bytes = static_cast<std::byte*>(workspace);
  input.codes = reinterpret_cast<std::int8_t*>(bytes);
  bytes += tokens * columns;
  input.scales = reinterpret_cast<float*>(bytes);
  bytes += tokens * input.blocks() * 4;
  input.sums = reinterpret_cast<std::int32_t*>(bytes);
  return input;
}

void quantise_input_row(const QuantInput& input, std::int64_t token, const float* x,
                        const QuantFormat& weight) {
  const std::int64_t blocks = input.blocks();
  std::int8_t* codes = input.codes + token * input.columns;
  float* scales = input.scales + token * blocks;
  std::int32_t* out = input.sums + token * blocks;
  const SumKind kind = sum_kind(weight);
  for (std::int64_t b = 0; b < blocks; ++b, x += kSubBlock, codes += kSubBlock) {
    const float most = max_magnitude(x);
    // A block below the smallest normal number would overflow 1 / most: it counts as zero.
    const bool empty = most < 1e-36F;
    const float scale = empty ? 0.0F : round_to_half_precision(most / 127.0F);
    const HalfSums sums = round_codes(x, empty ? 0.0F : 127.0F / most, codes);
    const std::int32_t sum = sums.first + sums.second;
    scales[b] = scale;
    switch (kind) {
      case SumKind::kZeroPoint:
        out[b] = -weight.zero * sum;
        break;
      case SumKind::kMinimum:
        out[b] = std::bit_cast<std::int32_t>(-scale * static_cast<float>(sum));
        break;
      case SumKind::kHalves:
        out[b] = (sums.first & 0xffff) |
                 static_cast<std::int32_t>(static_cast<std::uint32_t>(sums.second) << 16);
        break;
    }
  }
}

}  // namespace vramplan::cpu
