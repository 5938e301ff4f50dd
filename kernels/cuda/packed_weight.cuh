#pragma once
// Weights as published checkpoints pack them, eight elements at a time, as load_part of quant.cuh
// has those of GGUF. Layouts: kernels/packed_parts.h. Formats that differ in the group alone
// share a reader: kFp8Block reads every fp8, kAwqI4, kGptqI4 and kPackedI4 every group.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Which elements share a scale of an 8-bit format.
enum class ScaleOf : std::uint8_t { kMatrix, kRow, kBlock };

struct PackedRows {
  const std::uint8_t* scales = nullptr;
  const std::uint8_t* zeros = nullptr;
  const std::uint8_t* groups = nullptr;  // GPTQ: i32 [columns]
  std::int64_t rows = 0, columns = 0;    // multiples of 8 and of 32
  int group = 0;                         // columns that share a scale
  ScaleOf scale_of = ScaleOf::kMatrix;
};

template <DType F>
inline constexpr bool kPackedFormat = F >= DType::kFp8Tensor;

namespace dev {

VRAMPLAN_DEVICE std::uint32_t packed_word(const std::uint8_t* base, std::int64_t index) {
  return reinterpret_cast<const std::uint32_t*>(base)[index];
}
VRAMPLAN_DEVICE float nibble_of(std::uint32_t word, int i) {
  return static_cast<float>((word >> (4 * i)) & 15U);
}
VRAMPLAN_DEVICE float byte_scale(const PackedRows& p, std::int64_t row, std::int64_t column) {
  if (p.scale_of == ScaleOf::kRow) {
    return to_f32(reinterpret_cast<const BF16*>(p.scales)[row]);
  }
  const std::int64_t at =
      p.scale_of == ScaleOf::kMatrix ? 0 : row / 128 * ((p.columns + 127) / 128) + column / 128;
  return reinterpret_cast<const float*>(p.scales)[at];
}

/// Four elements of a row from column c, a multiple of 4.
template <DType F>
VRAMPLAN_DEVICE void load_packed4(const PackedRows& p, const std::uint8_t* codes, std::int64_t row,
                                  std::int64_t c, float* w) {
  if constexpr (F == DType::kFp8Block || F == DType::kInt8Channel) {
    const std::uint32_t bytes = packed_word(codes, (row * p.columns + c) / 4);
    const float scale = byte_scale(p, row, c);
    const U2 halves = f8x4_to_f16x4(bytes);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t half = i < 2 ? halves.x : halves.y;
      const float value =
          F == DType::kInt8Channel
              ? static_cast<float>(static_cast<signed char>((bytes >> (8 * i)) & 255U))
              : to_f32(F16{static_cast<std::uint16_t>(half >> (16 * (i % 2)))});
      w[i] = value * scale;
    }
  } else if constexpr (F == DType::kPackedI4) {
    const std::uint32_t word = packed_word(codes, (row * p.columns + c) / 8);
    const std::int64_t at = row * (p.columns / p.group) + c / p.group;
    const float scale = to_f32(reinterpret_cast<const BF16*>(p.scales)[at]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[i] = (nibble_of(word, static_cast<int>(c % 8) + i) - 8.0F) * scale;
    }
  } else {
    constexpr bool kAwq = F == DType::kAwqI4;
    const std::int64_t words = p.rows / 8;
    const int eighth = static_cast<int>(row % 8);
    // AWQ keeps even rows in the low half of a word.
    const int place = kAwq ? eighth % 2 * 4 + eighth / 2 : eighth;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::int64_t column = c + i;
      const std::int64_t g =
          kAwq ? column / p.group : reinterpret_cast<const std::int32_t*>(p.groups)[column];
      const float scale = to_f32(reinterpret_cast<const F16*>(p.scales)[g * p.rows + row]);
      const float zero = nibble_of(packed_word(p.zeros, g * words + row / 8), place);
      const float code = kAwq ? nibble_of(packed_word(codes, column * words + row / 8), place)
                              : nibble_of(packed_word(codes, column / 8 * p.rows + row),
                                          static_cast<int>(column % 8));
      w[i] = (code - zero - (kAwq ? 0.0F : 1.0F)) * scale;
    }
  }
}

/// Part j of sub-block `sub` of a row: elements 4j..4j+3 and 16+4j..16+4j+3 of its 32.
template <DType F>
VRAMPLAN_DEVICE void load_packed(const PackedRows& p, const std::uint8_t* codes, std::int64_t row,
                                 std::int64_t sub, int j, float (&w)[8]) {
  load_packed4<F>(p, codes, row, 32 * sub + 4 * j, w);
  load_packed4<F>(p, codes, row, 32 * sub + 16 + 4 * j, w + 4);
}

}  // namespace dev
}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
