#pragma once
// A matrix in the layout of a published checkpoint, written bit by bit, and its values.
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/half.h"
#include "kernels/packed_parts.h"
#include "kernels/tensor.h"

namespace vramplan {

class Published {
 public:
  Published(DType dtype, std::int64_t rows, std::int64_t columns)
      : dtype_(dtype),
        rule_(*packed_rule(dtype)),
        rows_(rows),
        columns_(columns),
        bytes_(static_cast<std::size_t>(bytes_of(dtype, rows, columns).n)),
        values_(static_cast<std::size_t>(rows * columns)) {
    for (std::uint8_t& b : bytes_) b = static_cast<std::uint8_t>(engine_() & 255U);
    group_ = rule_.group > 0 ? rule_.group : columns;
    groups_ = columns / group_;
    fill();
  }

  WeightView weight() { return {{bytes_.data(), dtype_, rows_, columns_}, 0}; }
  const std::vector<std::uint8_t>& stored() const { return bytes_; }
  const std::vector<float>& values() const { return values_; }

 private:
  template <class T>
  void put(std::int64_t byte, T value) {
    std::memcpy(&bytes_[static_cast<std::size_t>(byte)], &value, sizeof(T));
  }
  template <class T>
  T get(std::int64_t byte) const {
    T value;
    std::memcpy(&value, &bytes_[static_cast<std::size_t>(byte)], sizeof(T));
    return value;
  }
  float scale() { return std::uniform_real_distribution<float>(0.01F, 0.05F)(engine_); }
  float set_f16(std::int64_t byte) {
    const std::uint16_t half = cpu::f32_to_f16(scale());
    put(byte, half);
    return cpu::f16_to_f32(half);
  }
  float set_bf16(std::int64_t byte) {
    const std::uint16_t half = cpu::f32_to_bf16(scale());
    put(byte, half);
    return cpu::bf16_to_f32(half);
  }
  float& value(std::int64_t r, std::int64_t c) {
    return values_[static_cast<std::size_t>(r * columns_ + c)];
  }
  int code(std::int64_t byte, std::int64_t i) const {
    return static_cast<int>(get<std::uint32_t>(byte) >> (4 * i) & 15U);
  }

  void fill() {
    if (rule_.bits == 8) return bytes();
    if (rule_.column_bytes > 0) return gptq();
    if (rule_.zero_bits > 0) return awq();
    words();
  }

  void bytes() {
    const std::int64_t codes = rows_ * columns_;
    std::vector<float> scales;
    const std::int64_t across = (columns_ + 127) / 128;
    if (rule_.group == PackedRule::kPerMatrix) {
      scales.push_back(scale());
      put(codes, scales[0]);
    } else if (rule_.group == PackedRule::kPerBlock) {
      for (std::int64_t b = 0; b < (rows_ + 127) / 128 * across; ++b) {
        scales.push_back(scale());
        put(codes + 4 * b, scales.back());
      }
    } else {
      for (std::int64_t r = 0; r < rows_; ++r) scales.push_back(set_bf16(codes + 2 * r));
    }
    for (std::int64_t r = 0; r < rows_; ++r) {
      for (std::int64_t c = 0; c < columns_; ++c) {
        std::uint8_t& byte = bytes_[static_cast<std::size_t>(r * columns_ + c)];
        if ((byte & 0x7fU) == 0x7fU) byte = 0x7e;  // fp8: no NaN
        const std::int64_t s = rule_.group == PackedRule::kPerMatrix  ? 0
                               : rule_.group == PackedRule::kPerBlock ? r / 128 * across + c / 128
                                                                      : r;
        const float raw = dtype_ == DType::kInt8Channel
                              ? static_cast<float>(static_cast<std::int8_t>(byte))
                              : cpu::f8_to_f32(byte);
        value(r, c) = raw * scales[static_cast<std::size_t>(s)];
      }
    }
  }

  void awq() {
    const int order[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // nibble i holds this row of eight
    const std::int64_t scales = rows_ * columns_ / 2, zeros = scales + 2 * groups_ * rows_;
    for (std::int64_t g = 0; g < groups_; ++g) {
      for (std::int64_t r = 0; r < rows_; ++r) set_f16(scales + 2 * (g * rows_ + r));
    }
    for (std::int64_t c = 0; c < columns_; ++c) {
      for (std::int64_t word = 0; word < rows_ / 8; ++word) {
        for (int i = 0; i < 8; ++i) {
          const std::int64_t r = 8 * word + order[i], g = c / group_;
          const int zero = code(zeros + 4 * (g * rows_ / 8 + word), i);
          const float s = cpu::f16_to_f32(get<std::uint16_t>(scales + 2 * (g * rows_ + r)));
          value(r, c) = static_cast<float>(code(4 * (c * rows_ / 8 + word), i) - zero) * s;
        }
      }
    }
  }

  /// Groups out of order, as activation ordering makes them.
  void gptq() {
    const std::int64_t scales = rows_ * columns_ / 2, zeros = scales + 2 * groups_ * rows_;
    const std::int64_t index = zeros + groups_ * rows_ / 2;
    for (std::int64_t g = 0; g < groups_; ++g) {
      for (std::int64_t r = 0; r < rows_; ++r) set_f16(scales + 2 * (g * rows_ + r));
    }
    for (std::int64_t c = 0; c < columns_; ++c) {
      const auto g = static_cast<std::int32_t>((c * 7 + 3) % groups_);
      put(index + 4 * c, g);
      for (std::int64_t r = 0; r < rows_; ++r) {
        const int zero = code(zeros + 4 * (g * rows_ / 8 + r / 8), r % 8) + 1;
        const float s = cpu::f16_to_f32(get<std::uint16_t>(scales + 2 * (g * rows_ + r)));
        value(r, c) = static_cast<float>(code(4 * (c / 8 * rows_ + r), c % 8) - zero) * s;
      }
    }
  }

  void words() {
    const std::int64_t scales = rows_ * columns_ / 2;
    for (std::int64_t r = 0; r < rows_; ++r) {
      for (std::int64_t g = 0; g < groups_; ++g) {
        const float s = set_bf16(scales + 2 * (r * groups_ + g));
        for (std::int64_t c = g * group_; c < (g + 1) * group_; ++c) {
          const std::int64_t at = r * columns_ + c;
          value(r, c) = static_cast<float>(code(at / 8 * 4, at % 8) - 8) * s;
        }
      }
    }
  }

  DType dtype_;
  PackedRule rule_;
  std::int64_t rows_, columns_, group_ = 0, groups_ = 0;
  std::mt19937 engine_{5};
  std::vector<std::uint8_t> bytes_;
  std::vector<float> values_;
};

inline constexpr DType kPackedWeights[] = {
    DType::kFp8Tensor,   DType::kFp8Channel,     DType::kFp8Block, DType::kInt8Channel,
    DType::kAwqI4,       DType::kAwqI4G64,       DType::kAwqI4G32, DType::kGptqI4,
    DType::kGptqI4G64,   DType::kGptqI4G32,      DType::kPackedI4, DType::kPackedI4G64,
    DType::kPackedI4G32, DType::kPackedI4Channel};

}  // namespace vramplan
