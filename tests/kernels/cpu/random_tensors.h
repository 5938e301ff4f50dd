#pragma once
// Random tensors for kernel tests: f32 activations, weights of any format, and a weight's values.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/dequantise.h"
#include "kernels/cpu/half.h"
#include "kernels/tensor.h"

namespace vramplan {

inline std::vector<float> random_floats(std::int64_t n, std::uint32_t seed,
                                        float deviation = 1.0F) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, deviation);
  std::vector<float> out(static_cast<std::size_t>(n));
  for (float& x : out) x = normal(engine);
  return out;
}

inline TensorView view(std::vector<float>& data, std::int64_t rows, std::int64_t columns) {
  return {data.data(), DType::kF32, rows, columns};
}

/// A weight that owns its bytes.
struct RandomWeight {
  std::vector<std::uint8_t> bytes;
  WeightView weight;

  /// Random codes; f16 scales of about 0.01. Every row differs.
  RandomWeight(DType dtype, std::int64_t rows, std::int64_t columns, std::uint32_t seed) {
    bytes.resize(static_cast<std::size_t>(bytes_of(dtype, rows, columns).n));
    std::mt19937 engine(seed);
    if (!is_block_quantised(dtype)) {
      fill_dense(dtype, random_floats(rows * columns, seed, 0.1F));
    } else {
      for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(engine() & 255U);
      const cpu::QuantFormat& format = cpu::quant_format(dtype);
      std::uniform_real_distribution<float> scale(0.002F, 0.02F);
      const auto block = static_cast<std::size_t>(info(dtype).block_bytes);
      for (std::size_t at = 0; at < bytes.size(); at += block) {
        for (int h = 0; h < format.half_count; ++h) {
          const std::uint16_t half =
              cpu::f32_to_f16(scale(engine) * (engine() % 2 != 0 ? 1.0F : -1.0F));
          std::memcpy(&bytes[at + static_cast<std::size_t>(format.half_offset + 2 * h)], &half, 2);
        }
      }
    }
    weight.tensor = {bytes.data(), dtype, rows, columns};
  }

  /// [rows, columns]; valid only while the weight is not packed.
  std::vector<float> values() const {
    const TensorView& t = weight.tensor;
    std::vector<float> out(static_cast<std::size_t>(t.rows * t.columns));
    const std::int64_t row_bytes = bytes_of(t.dtype, 1, t.columns).n;
    for (std::int64_t r = 0; r < t.rows; ++r) {
      cpu::dequantise_row(t.dtype, bytes.data() + r * row_bytes, out.data() + r * t.columns,
                          t.columns);
    }
    return out;
  }

 private:
  void fill_dense(DType dtype, const std::vector<float>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (dtype == DType::kF32) {
        std::memcpy(&bytes[4 * i], &values[i], 4);
      } else if (dtype == DType::kF8E4M3) {
        bytes[i] = cpu::f32_to_f8(values[i]);
      } else {
        const std::uint16_t half =
            dtype == DType::kF16 ? cpu::f32_to_f16(values[i]) : cpu::f32_to_bf16(values[i]);
        std::memcpy(&bytes[2 * i], &half, 2);
      }
    }
  }
};

inline constexpr DType kWeightTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kF8E4M3,
                                         DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                         DType::kQ5_1, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K,
                                         DType::kQ5_K, DType::kQ6_K};

}  // namespace vramplan
