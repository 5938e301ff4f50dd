#include "kernels/cpu/quantise.h"

#include <cmath>
#include <cstring>

#include "kernels/cpu/half.h"
#include "modelcards/error.h"

namespace vramplan::cpu {
namespace {

// This file is compiled without contraction into fused multiply-adds (see CMakeLists.txt): bytes
// are those of the published encoder on every machine.

constexpr int kBlock = 32;

void put_half(std::uint8_t* to, float value) {
  const std::uint16_t half = f32_to_f16(value);
  std::memcpy(to, &half, sizeof half);
}

float inverse_of(float scale) {
  const float inverse = 1.0F / scale;
  return scale == 0.0F || !std::isfinite(inverse) ? 0.0F : inverse;
}

void store_q8_0(const float* x, std::uint8_t* to) {
  float most = 0.0F;
  for (int i = 0; i < kBlock; ++i) most = std::fmax(most, std::fabs(x[i]));
  const float scale = most / 127.0F, inverse = inverse_of(scale);
  put_half(to, scale);
  for (int i = 0; i < kBlock; ++i) {
    const float value = x[i] * inverse, magnitude = std::fabs(value);
    const float whole = std::floor(magnitude);
    const float rounded = whole + std::floor(2.0F * (magnitude - whole));
    const float code = rounded < 127.0F ? rounded : 127.0F;
    to[2 + i] = static_cast<std::uint8_t>(static_cast<int>(value < 0.0F ? -code : code));
  }
}

/// Codes of 4 or 5 bits: the fifth in 32 bits before the pairs of nibbles.
void store_codes(const std::uint8_t* codes, int bits, std::uint8_t* to) {
  if (bits == 5) {
    std::uint32_t high = 0;
    for (int i = 0; i < kBlock; ++i) high |= static_cast<std::uint32_t>(codes[i] >> 4) << i;
    for (int i = 0; i < 4; ++i) *to++ = static_cast<std::uint8_t>(high >> (8 * i));
  }
  for (int i = 0; i < kBlock / 2; ++i) {
    to[i] = static_cast<std::uint8_t>((codes[i] & 15) | (codes[i + kBlock / 2] & 15) << 4);
  }
}

template <int kBits, bool kMinimum>
void store_block(const float* x, std::uint8_t* to) {
  constexpr int kMost = (1 << kBits) - 1;
  float scale = 0.0F, low = 0.0F;
  if constexpr (kMinimum) {
    low = x[0];
    float high = x[0];
    for (int i = 1; i < kBlock; ++i) {
      low = x[i] < low ? x[i] : low;
      high = x[i] > high ? x[i] : high;
    }
    scale = (high - low) / static_cast<float>(kMost);
  } else {
    float most = x[0];  // the first of the largest magnitude
    for (int i = 1; i < kBlock; ++i) most = std::fabs(x[i]) > std::fabs(most) ? x[i] : most;
    scale = most / static_cast<float>(-(1 << (kBits - 1)));
  }
  const float inverse = inverse_of(scale);
  constexpr float kHalf = kMinimum ? 0.5F : static_cast<float>(1 << (kBits - 1)) + 0.5F;
  std::uint8_t codes[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    const float value = (x[i] - low) * inverse + kHalf;
    const float most = static_cast<float>(kMost);
    codes[i] = static_cast<std::uint8_t>(value > 0.0F ? (value < most ? value : most) : 0.0F);
  }
  put_half(to, scale);
  if constexpr (kMinimum) put_half(to + 2, low);
  store_codes(codes, kBits, to + (kMinimum ? 4 : 2));
}

template <class Store>
void for_each_block(DType dtype, const float* x, std::uint8_t* to, std::int64_t n, Store store) {
  VRAMPLAN_CHECK(n % kBlock == 0);
  const std::int64_t bytes = info(dtype).block_bytes;
  for (std::int64_t i = 0; i < n; i += kBlock, to += bytes) store(x + i, to);
}

template <class T, class Round>
void for_each_element(const float* x, std::uint8_t* to, std::int64_t n, Round round) {
  for (std::int64_t i = 0; i < n; ++i) {
    const T value = round(x[i]);
    std::memcpy(to + i * static_cast<std::int64_t>(sizeof value), &value, sizeof value);
  }
}

}  // namespace

bool is_rounded_format(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF8E4M3:
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ8_0:
      return true;
    default:
      return false;
  }
}

void quantise_row(DType dtype, const float* x, void* row, std::int64_t n) {
  auto* const to = static_cast<std::uint8_t*>(row);
  switch (dtype) {
    case DType::kF32:
      std::memcpy(to, x, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
      return for_each_element<std::uint16_t>(x, to, n, f32_to_f16);
    case DType::kBF16:
      return for_each_element<std::uint16_t>(x, to, n, f32_to_bf16);
    case DType::kF8E4M3:
      return for_each_element<std::uint8_t>(x, to, n, f32_to_f8);
    case DType::kQ4_0:
      return for_each_block(dtype, x, to, n, store_block<4, false>);
    case DType::kQ4_1:
      return for_each_block(dtype, x, to, n, store_block<4, true>);
    case DType::kQ5_0:
      return for_each_block(dtype, x, to, n, store_block<5, false>);
    case DType::kQ5_1:
      return for_each_block(dtype, x, to, n, store_block<5, true>);
    case DType::kQ8_0:
      return for_each_block(dtype, x, to, n, store_q8_0);
    default:
      throw Error(ErrorCode::kUnsupported, std::string("rounding weights to ") + info(dtype).name)
          .at("", "--weights")
          .help("f32, f16, bf16, fp8, q4_0, q4_1, q5_0, q5_1 and q8_0 are made by rounding");
  }
}

}  // namespace vramplan::cpu
