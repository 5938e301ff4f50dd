#include "kernels/cpu/dequantise.h"

#include <cstring>

#include "kernels/cpu/half.h"

namespace vramplan::cpu {

void require_supported_weight(DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
      dtype == DType::kF8E4M3) {
    return;
  }
  quant_format(dtype);
}

// This file is compiled without contraction into fused multiply-adds (see CMakeLists.txt), so
// that values equal those of the format's definition to the last bit.
void dequantise_sub_block(const QuantFormat& format, const SubBlock& block, float* out) {
  for (int i = 0; i < kSubBlock; ++i) {
    const float code = static_cast<float>(block.codes[i] - format.zero);
    out[i] = block.scale[i / 16] * code - block.minimum[i / 16];
  }
}

void dequantise_row(DType dtype, const void* row, float* out, std::int64_t n) {
  if (dtype == DType::kF32) {
    std::memcpy(out, row, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  if (dtype == DType::kF16 || dtype == DType::kBF16) {
    const auto* half = static_cast<const std::uint16_t*>(row);
    for (std::int64_t i = 0; i < n; ++i) {
      out[i] = dtype == DType::kF16 ? f16_to_f32(half[i]) : bf16_to_f32(half[i]);
    }
    return;
  }
  if (dtype == DType::kF8E4M3) {
    const auto* codes = static_cast<const std::uint8_t*>(row);
    for (std::int64_t i = 0; i < n; ++i) out[i] = f8_to_f32(codes[i]);
    return;
  }
  const QuantFormat& format = quant_format(dtype);
  SubBlock sub;
  for (std::int64_t s = 0; s < n / kSubBlock; ++s) {
    read_sub_block(format, static_cast<const std::uint8_t*>(row), s, sub);
    dequantise_sub_block(format, sub, out + s * kSubBlock);
  }
}

}  // namespace vramplan::cpu
