#include "kernels/cpu/quant_blocks.h"

#include <cstring>
#include <string>

#include "kernels/cpu/half.h"
#include "modelcards/error.h"

namespace vramplan::cpu {
namespace {

const QuantFormat* find(DType dtype) {
  for (const QuantFormat& format : kQuantFormats) {
    if (format.dtype == dtype) return &format;
  }
  return nullptr;
}

std::uint8_t byte(int value) { return static_cast<std::uint8_t>(value); }

/// q4_0 .. q8_0: one block is one sub-block. `high` = offset of the fifth bits, `low` = of the
/// codes.
void read_legacy_codes(DType dtype, const std::uint8_t* block, std::uint8_t* codes) {
  if (dtype == DType::kQ8_0) {  // signed bytes; code = value + 128
    for (int i = 0; i < 32; ++i) codes[i] = byte(block[2 + i] ^ 128);
    return;
  }
  const bool with_minimum = dtype == DType::kQ4_1 || dtype == DType::kQ5_1;
  const bool five_bits = dtype == DType::kQ5_0 || dtype == DType::kQ5_1;
  const std::uint8_t* next = block + (with_minimum ? 4 : 2);
  std::uint32_t high = 0;
  if (five_bits) {
    std::memcpy(&high, next, 4);
    next += 4;
  }
  for (int i = 0; i < 16; ++i) {
    codes[i] = byte((next[i] & 15) | static_cast<int>(((high >> i) & 1U) << 4));
    codes[i + 16] = byte((next[i] >> 4) | static_cast<int>(((high >> (i + 16)) & 1U) << 4));
  }
}

/// K formats: `sub` is 0..7 inside the block of 256.
void read_k_codes(DType dtype, const std::uint8_t* block, int sub, std::uint8_t* codes) {
  const int half = sub / 4, quarter = sub % 4;  // 128 elements; 32 of them
  for (int i = 0; i < 32; ++i) {
    switch (dtype) {
      case DType::kQ2_K:
        codes[i] = byte((block[16 + half * 32 + i] >> (2 * quarter)) & 3);
        break;
      case DType::kQ3_K:
        codes[i] = byte(((block[32 + half * 32 + i] >> (2 * quarter)) & 3) |
                        (((block[i] >> sub) & 1) << 2));
        break;
      case DType::kQ4_K:
        codes[i] = byte((block[16 + (sub / 2) * 32 + i] >> (4 * (sub % 2))) & 15);
        break;
      case DType::kQ5_K:
        codes[i] = byte(((block[48 + (sub / 2) * 32 + i] >> (4 * (sub % 2))) & 15) |
                        (((block[16 + i] >> sub) & 1) << 4));
        break;
      default: {  // q6_k
        const int low = block[half * 64 + (quarter % 2) * 32 + i] >> (4 * (quarter / 2));
        const int high = block[128 + half * 32 + i] >> (2 * quarter);
        codes[i] = byte((low & 15) | ((high & 3) << 4));
      }
    }
  }
}

struct ScaleMin {
  int scale, minimum;
};

/// The 6-bit scale and minimum of sub-block `sub` of q4_k and q5_k out of 12 bytes.
ScaleMin six_bit_pair(const std::uint8_t* b, int sub) {
  if (sub < 4) return {b[sub] & 63, b[sub + 4] & 63};
  return {(b[sub + 4] & 15) | ((b[sub - 4] >> 6) << 4), (b[sub + 4] >> 4) | ((b[sub] >> 6) << 4)};
}

/// The 6-bit scale (minus 32) of 16 elements of q3_k out of 12 bytes.
int q3_scale(const std::uint8_t* b, int index) {
  const int low = index < 8 ? b[index] & 15 : b[index - 8] >> 4;
  const int high = (b[8 + index % 4] >> (2 * (index / 4))) & 3;
  return (low | (high << 4)) - 32;
}

}  // namespace

bool is_supported_quant(DType dtype) { return find(dtype) != nullptr; }

const QuantFormat& quant_format(DType dtype) {
  const QuantFormat* format = find(dtype);
  if (format == nullptr) {
    throw Error(ErrorCode::kUnsupported,
                std::string("the CPU kernels do not read ") + info(dtype).name + " weights")
        .help("use f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1 or q2_k to q6_k");
  }
  return *format;
}

void read_codes(const QuantFormat& format, const std::uint8_t* row, std::int64_t sub,
                std::uint8_t* codes) {
  const DTypeInfo& shape = info(format.dtype);
  if (shape.block_elements == kSubBlock) {
    read_legacy_codes(format.dtype, row + sub * shape.block_bytes, codes);
  } else {
    read_k_codes(format.dtype, row + sub / 8 * shape.block_bytes, static_cast<int>(sub % 8), codes);
  }
}

void read_scales(const QuantFormat& format, const std::uint16_t* halves, const std::uint8_t* bytes,
                 std::int64_t sub, SubBlock& out) {
  const float d = f16_to_f32(halves[0]);
  const float m = format.half_count > 1 ? f16_to_f32(halves[1]) : 0.0F;
  const int s = static_cast<int>(sub % 8);
  for (int half = 0; half < 2; ++half) {
    float scale = d, minimum = -m;  // q4_1 and q5_1 add their minimum
    const int index = 2 * s + half;
    if (format.dtype == DType::kQ2_K) {
      scale = d * static_cast<float>(bytes[index] & 15);
      minimum = m * static_cast<float>(bytes[index] >> 4);
    } else if (format.dtype == DType::kQ3_K) {
      scale = d * static_cast<float>(q3_scale(bytes, index));
    } else if (format.dtype == DType::kQ6_K) {
      scale = d * static_cast<float>(static_cast<std::int8_t>(bytes[index]));
    } else if (format.byte_count == 12) {
      const ScaleMin pair = six_bit_pair(bytes, s);
      scale = d * static_cast<float>(pair.scale);
      minimum = m * static_cast<float>(pair.minimum);
    }
    out.scale[half] = scale;
    out.minimum[half] = minimum;
  }
}

void read_sub_block(const QuantFormat& format, const std::uint8_t* row, std::int64_t sub,
                    SubBlock& out) {
  read_codes(format, row, sub, out.codes);
  const DTypeInfo& shape = info(format.dtype);
  const std::uint8_t* block = row + sub * kSubBlock / shape.block_elements * shape.block_bytes;
  std::uint16_t halves[2] = {0, 0};
  std::memcpy(halves, block + format.half_offset, static_cast<std::size_t>(format.half_count) * 2);
  read_scales(format, halves, block + format.byte_offset, sub, out);
}

}  // namespace vramplan::cpu
