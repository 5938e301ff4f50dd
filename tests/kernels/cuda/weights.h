#pragma once
// Random weights of every format on the device, and their values by the CPU's dequantisation, which
// is itself held against the formats' reference implementation.
#include "../cpu/random_tensors.h"
#include "harness.h"

namespace vramplan::cuda_test {

inline constexpr DType kCudaWeights[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kF8E4M3,
                                         DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                         DType::kQ5_1, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K,
                                         DType::kQ5_K, DType::kQ6_K};

/// A row length that the format allows, near `columns`.
inline std::int64_t whole_blocks(DType dtype, std::int64_t columns) {
  const std::int64_t block = info(dtype).block_elements;
  return (columns + block - 1) / block * block;
}

struct DeviceWeight {
  Tensor tensor;
  Values values;  // [rows, columns]

  DeviceWeight(DType dtype, std::int64_t rows, std::int64_t columns, std::uint32_t seed)
      : tensor(dtype, rows, columns) {
    if (dtype == DType::kF8E4M3) {
      tensor.set(normal(rows * columns, seed, 0.1F));
      values = tensor.values();
      return;
    }
    const RandomWeight host(dtype, rows, columns, seed);
    tensor.set_bytes(host.bytes);
    const std::vector<float> plain = host.values();
    values.assign(plain.begin(), plain.end());
  }
  WeightView view() const { return {tensor.view(), 0}; }
};

}  // namespace vramplan::cuda_test
