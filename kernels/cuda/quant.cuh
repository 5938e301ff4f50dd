#pragma once
// Weights of every format, eight elements at a time, read in their stored layout. A row is cut into
// sub-blocks of 32 elements; part j (0..3) of a sub-block is elements 4j..4j+3 and 16+4j..16+4j+3,
// because the formats keep element i and i + 16 in one byte or use one shift for all 32.
// Source of the layouts: GGUF specification and the public block definitions of its formats.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Bytes, elements and zero point of a block. Fields: see load_part.
template <DType F>
struct BlockShape;
#define VRAMPLAN_BLOCK(format, elements_, bytes_)              \
  template <>                                                  \
  struct BlockShape<DType::format> {                           \
    static constexpr int elements = elements_, bytes = bytes_; \
  }
VRAMPLAN_BLOCK(kF32, 1, 4);
VRAMPLAN_BLOCK(kF16, 1, 2);
VRAMPLAN_BLOCK(kBF16, 1, 2);
VRAMPLAN_BLOCK(kF8E4M3, 1, 1);
VRAMPLAN_BLOCK(kQ4_0, 32, 18);
VRAMPLAN_BLOCK(kQ4_1, 32, 20);
VRAMPLAN_BLOCK(kQ5_0, 32, 22);
VRAMPLAN_BLOCK(kQ5_1, 32, 24);
VRAMPLAN_BLOCK(kQ8_0, 32, 34);
VRAMPLAN_BLOCK(kQ2_K, 256, 84);
VRAMPLAN_BLOCK(kQ3_K, 256, 110);
VRAMPLAN_BLOCK(kQ4_K, 256, 144);
VRAMPLAN_BLOCK(kQ5_K, 256, 176);
VRAMPLAN_BLOCK(kQ6_K, 256, 210);
#undef VRAMPLAN_BLOCK

namespace dev {

/// Four bytes at an even address.
VRAMPLAN_DEVICE std::uint32_t load_even32(const std::uint8_t* p) {
  const auto* half = reinterpret_cast<const std::uint16_t*>(p);
  return static_cast<std::uint32_t>(half[0]) | static_cast<std::uint32_t>(half[1]) << 16;
}
VRAMPLAN_DEVICE std::uint32_t load32(const std::uint8_t* p) {
  return *reinterpret_cast<const std::uint32_t*>(p);
}
VRAMPLAN_DEVICE float load_f16(const std::uint8_t* p) {
  return to_f32(*reinterpret_cast<const F16*>(p));
}

/// Byte i of `codes` as a float: 2^23 + code in one permutation, then minus 2^23. Exact, and
/// cheaper than the integer-to-float conversion.
VRAMPLAN_DEVICE float code_float(std::uint32_t codes, unsigned i) {
  return as_float(__byte_perm(codes, 0x4B000000U, 0x7650U | i)) - 8388608.0F;
}

/// Four neighbouring bits as bit 4 of four bytes.
VRAMPLAN_DEVICE std::uint32_t fifth_bits(std::uint32_t bits) {
  return ((bits & 1U) << 4) | ((bits & 2U) << 11) | ((bits & 4U) << 18) | ((bits & 8U) << 25);
}

/// w[0..3] from the codes of `low`, w[4..7] of `high`: scale * (code - zero) - minimum.
struct ScaledCodes {
  std::uint32_t low, high;
  float scale_low, scale_high, minimum_low, minimum_high;
};
VRAMPLAN_DEVICE void decode(const ScaledCodes& part, float zero, float (&w)[8]) {
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    w[i] = part.scale_low * (code_float(part.low, i) - zero) - part.minimum_low;
    w[4 + i] = part.scale_high * (code_float(part.high, i) - zero) - part.minimum_high;
  }
}

struct SixBitPair {
  int scale, minimum;
};
/// Scale and minimum of sub-block s of q4_k and q5_k out of 12 bytes: six bits each.
VRAMPLAN_DEVICE SixBitPair six_bit_pair(const std::uint8_t* b, int s) {
  if (s < 4) return {b[s] & 63, b[s + 4] & 63};
  return {(b[s + 4] & 15) | ((b[s - 4] >> 6) << 4), (b[s + 4] >> 4) | ((b[s] >> 6) << 4)};
}
/// Scale of 16 elements of q3_k out of 12 bytes: six bits, biased by 32.
VRAMPLAN_DEVICE int q3_scale(const std::uint8_t* b, int i) {
  const int low = i < 8 ? b[i] & 15 : b[i - 8] >> 4;
  return (low | (((b[8 + i % 4] >> (2 * (i / 4))) & 3) << 4)) - 32;
}

/// q4_0 q4_1 q5_0 q5_1 q8_0: a block is a sub-block: f16 scale (and minimum, added), fifth bits,
/// codes.
template <DType F>
VRAMPLAN_DEVICE void load_legacy(const std::uint8_t* b, int j, float (&w)[8]) {
  constexpr bool kMinimum = F == DType::kQ4_1 || F == DType::kQ5_1;
  constexpr bool kFive = F == DType::kQ5_0 || F == DType::kQ5_1;
  constexpr int kHigh = kMinimum ? 4 : 2, kCodes = kHigh + (kFive ? 4 : 0);
  const float scale = load_f16(b), minimum = kMinimum ? -load_f16(b + 2) : 0.0F;
  ScaledCodes part{0, 0, scale, scale, minimum, minimum};
  if constexpr (F == DType::kQ8_0) {
    part.low = load_even32(b + kCodes + 4 * j) ^ 0x80808080U;
    part.high = load_even32(b + kCodes + 16 + 4 * j) ^ 0x80808080U;
    decode(part, 128.0F, w);
  } else {
    const std::uint8_t* at = b + kCodes + 4 * j;
    const std::uint32_t codes = BlockShape<F>::bytes % 4 == 0 ? load32(at) : load_even32(at);
    part.low = codes & 0x0F0F0F0FU;
    part.high = (codes >> 4) & 0x0F0F0F0FU;
    if constexpr (kFive) {
      const std::uint32_t bits = load_even32(b + kHigh) >> (4 * j);
      part.low |= fifth_bits(bits);
      part.high |= fifth_bits(bits >> 16);
    }
    decode(part, F == DType::kQ4_0 ? 8.0F : F == DType::kQ5_0 ? 16.0F : 0.0F, w);
  }
}

/// q2_k to q6_k: `s` is the sub-block 0..7 inside the block of 256.
template <DType F>
VRAMPLAN_DEVICE void load_k(const std::uint8_t* b, int s, int j, float (&w)[8]) {
  const int half = s / 4, quarter = s % 4;
  ScaledCodes part{};
  float zero = 0.0F;
  if constexpr (F == DType::kQ2_K) {  // 16 scale bytes, 64 code bytes, f16 scale, f16 minimum
    const std::uint8_t* codes = b + 16 + half * 32 + 4 * j;
    part.low = (load32(codes) >> (2 * quarter)) & 0x03030303U;
    part.high = (load32(codes + 16) >> (2 * quarter)) & 0x03030303U;
    const float d = load_f16(b + 80), m = load_f16(b + 82);
    part.scale_low = d * static_cast<float>(b[2 * s] & 15);
    part.scale_high = d * static_cast<float>(b[2 * s + 1] & 15);
    part.minimum_low = m * static_cast<float>(b[2 * s] >> 4);
    part.minimum_high = m * static_cast<float>(b[2 * s + 1] >> 4);
  } else if constexpr (F == DType::kQ3_K) {  // 32 high-bit bytes, 64 code bytes, 12 scales, f16
    const std::uint8_t* codes = b + 32 + half * 32 + 4 * j;
    const std::uint8_t* bits = b + 4 * j;
    part.low = ((load_even32(codes) >> (2 * quarter)) & 0x03030303U) |
               (((load_even32(bits) >> s) & 0x01010101U) << 2);
    part.high = ((load_even32(codes + 16) >> (2 * quarter)) & 0x03030303U) |
                (((load_even32(bits + 16) >> s) & 0x01010101U) << 2);
    const float d = load_f16(b + 108);
    part.scale_low = d * static_cast<float>(q3_scale(b + 96, 2 * s));
    part.scale_high = d * static_cast<float>(q3_scale(b + 96, 2 * s + 1));
    zero = 4.0F;
  } else if constexpr (F == DType::kQ6_K) {  // 128 low, 64 high, 16 signed scales, f16
    const std::uint8_t* low = b + half * 64 + (quarter % 2) * 32 + 4 * j;
    const std::uint8_t* high = b + 128 + half * 32 + 4 * j;
    const int low_shift = 4 * (quarter / 2), high_shift = 2 * quarter;
    part.low = ((load_even32(low) >> low_shift) & 0x0F0F0F0FU) |
               (((load_even32(high) >> high_shift) & 0x03030303U) << 4);
    part.high = ((load_even32(low + 16) >> low_shift) & 0x0F0F0F0FU) |
                (((load_even32(high + 16) >> high_shift) & 0x03030303U) << 4);
    const float d = load_f16(b + 208);
    const auto* scales = reinterpret_cast<const signed char*>(b + 192);
    part.scale_low = d * static_cast<float>(scales[2 * s]);
    part.scale_high = d * static_cast<float>(scales[2 * s + 1]);
    zero = 32.0F;
  } else {  // q4_k, q5_k: f16 scale, f16 minimum, 12 scale bytes, (32 high-bit bytes,) 128 codes
    constexpr bool kFive = F == DType::kQ5_K;
    const std::uint8_t* codes = b + (kFive ? 48 : 16) + (s / 2) * 32 + 4 * j;
    const int shift = 4 * (s % 2);
    part.low = (load32(codes) >> shift) & 0x0F0F0F0FU;
    part.high = (load32(codes + 16) >> shift) & 0x0F0F0F0FU;
    if constexpr (kFive) {
      part.low |= ((load32(b + 16 + 4 * j) >> s) & 0x01010101U) << 4;
      part.high |= ((load32(b + 32 + 4 * j) >> s) & 0x01010101U) << 4;
    }
    const SixBitPair pair = six_bit_pair(b + 4, s);
    part.scale_low = part.scale_high = load_f16(b) * static_cast<float>(pair.scale);
    part.minimum_low = part.minimum_high = load_f16(b + 2) * static_cast<float>(pair.minimum);
  }
  decode(part, zero, w);
}

/// Four elements from element `at` of a plain row of n; 0 beyond its end.
template <DType F>
VRAMPLAN_DEVICE void load_plain4(const std::uint8_t* row, std::int64_t at, std::int64_t n,
                                 bool vector, float* w) {
  if (vector && at + 4 <= n) {
    if constexpr (F == DType::kF32) {
      const F4 v = load<F4>(row + 4 * at);
      w[0] = v.x, w[1] = v.y, w[2] = v.z, w[3] = v.w;
    } else if constexpr (F == DType::kF8E4M3) {
      const U2 v = f8x4_to_f16x4(load32(row + at));
      w[0] = to_f32(F16{static_cast<std::uint16_t>(v.x)});
      w[1] = to_f32(F16{static_cast<std::uint16_t>(v.x >> 16)});
      w[2] = to_f32(F16{static_cast<std::uint16_t>(v.y)});
      w[3] = to_f32(F16{static_cast<std::uint16_t>(v.y >> 16)});
    } else {
      const U2 v = load<U2>(row + 2 * at);
      if constexpr (F == DType::kF16) {
        w[0] = to_f32(F16{static_cast<std::uint16_t>(v.x)});
        w[1] = to_f32(F16{static_cast<std::uint16_t>(v.x >> 16)});
        w[2] = to_f32(F16{static_cast<std::uint16_t>(v.y)});
        w[3] = to_f32(F16{static_cast<std::uint16_t>(v.y >> 16)});
      } else {
        w[0] = as_float(v.x << 16), w[1] = as_float(v.x & 0xffff0000U);
        w[2] = as_float(v.y << 16), w[3] = as_float(v.y & 0xffff0000U);
      }
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float value = 0.0F;
    if (at + i < n) {
      if constexpr (F == DType::kF8E4M3) {
        value = to_f32(reinterpret_cast<const F8*>(row)[at + i]);
      } else {
        value = load_as(F, row, at + i);
      }
    }
    w[i] = value;
  }
}

/// Part j of sub-block `sub` of a row of n elements. `vector`: the rows of a plain format start at
/// multiples of four elements. Block formats have whole blocks only; rows start at even addresses.
template <DType F>
VRAMPLAN_DEVICE void load_part(const std::uint8_t* row, std::int64_t sub, int j, std::int64_t n,
                               bool vector, float (&w)[8]) {
  using Shape = BlockShape<F>;
  if constexpr (Shape::elements == 1) {
    load_plain4<F>(row, 32 * sub + 4 * j, n, vector, w);
    load_plain4<F>(row, 32 * sub + 16 + 4 * j, n, vector, w + 4);
  } else if constexpr (Shape::elements == 32) {
    load_legacy<F>(row + sub * Shape::bytes, j, w);
  } else {
    load_k<F>(row + sub / 8 * Shape::bytes, static_cast<int>(sub % 8), j, w);
  }
}

}  // namespace dev
}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
