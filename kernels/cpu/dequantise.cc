#include "kernels/cpu/dequantise.h"

#include <cstring>

#include "kernels/cpu/half.h"
#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {

// This file is compiled without contraction into fused multiply-adds (see CMakeLists.txt), so
// that values equal those of the format's definition to the last bit.
void store_scaled(Vf code, float scale, float minimum, float* out) {
  store(out, set1(scale) * code - set1(minimum));
}

/// q4_0 and q4_1, the two most common files: a block without the detour of SubBlock.
template <bool kMinimum>
void dequantise_q4(const std::uint8_t* block, std::int64_t blocks, float* out) {
  constexpr int kCodes = kMinimum ? 4 : 2;
  const Vf zero = set1(kMinimum ? 0.0F : 8.0F);
  for (; blocks > 0; --blocks, block += kCodes + 16, out += 32) {
    std::uint16_t halves[2] = {0, 0};
    std::memcpy(halves, block, kCodes);
    const float scale = f16_to_f32(halves[0]), minimum = -f16_to_f32(halves[1]);
    for (int i = 0; i < 16; i += kLanes) {
      const Vs codes = reinterpret_cast<Vs>(widen_u8(block + kCodes + i));
      const Vf low = to_float(reinterpret_cast<Vi>(codes & 15));
      const Vf high = to_float(reinterpret_cast<Vi>(codes >> 4));
      store_scaled(low - zero, scale, minimum, out + i);
      store_scaled(high - zero, scale, minimum, out + 16 + i);
    }
  }
}

void dequantise_q8(const std::uint8_t* block, std::int64_t blocks, float* out) {
  for (; blocks > 0; --blocks, block += 34, out += 32) {
    std::uint16_t half = 0;
    std::memcpy(&half, block, 2);
    const float scale = f16_to_f32(half);
    const auto* codes = reinterpret_cast<const std::int8_t*>(block + 2);
    for (int i = 0; i < 32; i += kLanes) {
      store_scaled(to_float(widen_i8(codes + i)), scale, -0.0F, out + i);
    }
  }
}

void dequantise_half(DType dtype, const std::uint16_t* half, float* out, std::int64_t n) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    store(out + i, dtype == DType::kF16 ? load_f16(half + i) : load_bf16(half + i));
  for (; i < n; ++i) out[i] = dtype == DType::kF16 ? f16_to_f32(half[i]) : bf16_to_f32(half[i]);
}

}  // namespace

void require_supported_weight(DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
      dtype == DType::kF8E4M3) {
    return;
  }
  quant_format(dtype);
}

void dequantise_sub_block(const QuantFormat& format, const SubBlock& block, float* out) {
  const Vf zero = set1(static_cast<float>(format.zero));
  for (int i = 0; i < kSubBlock; i += kLanes) {
    store_scaled(to_float(widen_u8(block.codes + i)) - zero, block.scale[i / 16],
                 block.minimum[i / 16], out + i);
  }
}

void dequantise_row(DType dtype, const void* row, float* out, std::int64_t n) {
  if (dtype == DType::kF32) {
    std::memcpy(out, row, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  const auto* bytes = static_cast<const std::uint8_t*>(row);
  switch (dtype) {
    case DType::kF16:
    case DType::kBF16:
      return dequantise_half(dtype, static_cast<const std::uint16_t*>(row), out, n);
    case DType::kF8E4M3:
      for (std::int64_t i = 0; i < n; ++i) out[i] = f8_to_f32(bytes[i]);
      return;
    case DType::kQ4_0:
      return dequantise_q4<false>(bytes, n / 32, out);
    case DType::kQ4_1:
      return dequantise_q4<true>(bytes, n / 32, out);
    case DType::kQ8_0:
      return dequantise_q8(bytes, n / 32, out);
    default:
      break;
  }
  const QuantFormat& format = quant_format(dtype);
  SubBlock sub;
  for (std::int64_t s = 0; s < n / kSubBlock; ++s) {
    read_sub_block(format, bytes, s, sub);
    dequantise_sub_block(format, sub, out + s * kSubBlock);
  }
}

}  // namespace vramplan::cpu
