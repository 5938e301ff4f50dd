#pragma once
// Rows of the paged KV cache, as kernels see them: addresses, and a few elements at a time of every
// format. `C` is the element of a plain row, or the tag of an encoded one: KvI8, KvQ8_0, KvQ4_0.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

/// Codes of 8 bits, then one f32 scale for the row.
struct KvI8 {};
/// Blocks of 32 elements: an f16 scale and 32 codes of 8 bits, or of 4 bits less 8 with element i
/// and i + 16 in one byte. The GGUF blocks of that name.
struct KvQ8_0 {};
struct KvQ4_0 {};

template <class C>
inline constexpr bool kPlainRow = true;
template <>
inline constexpr bool kPlainRow<KvI8> = false;
template <>
inline constexpr bool kPlainRow<KvQ8_0> = false;
template <>
inline constexpr bool kPlainRow<KvQ4_0> = false;

/// kv_row_bytes of kernels/ops.h.
template <class C>
VRAMPLAN_DEVICE std::int64_t row_bytes(std::int64_t width) {
  if constexpr (std::is_same_v<C, KvI8>) return width + 4;
  if constexpr (std::is_same_v<C, KvQ8_0>) return width / 32 * 34;
  if constexpr (std::is_same_v<C, KvQ4_0>) return width / 32 * 18;
  if constexpr (kPlainRow<C>) return width * static_cast<std::int64_t>(sizeof(C));
}

template <class C>
VRAMPLAN_DEVICE std::byte* kv_row(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                                  std::int64_t offset, bool values) {
  return kv.base + block * kv.block_stride + (values ? kv.value_offset : 0) +
         (head * kv.block_tokens + offset) * row_bytes<C>(values ? kv.value_dim : kv.head_dim);
}

namespace dev {

/// kCount (2, 4, 8 or 16) bytes at an even address.
template <int kCount>
VRAMPLAN_DEVICE void load_bytes(const std::uint8_t* p, std::uint32_t (&words)[(kCount + 3) / 4]) {
  const auto* half = reinterpret_cast<const std::uint16_t*>(p);
  if constexpr (kCount == 2) {
    words[0] = half[0];
  } else {
#pragma unroll
    for (int i = 0; i < kCount / 4; ++i) {
      words[i] = static_cast<std::uint32_t>(half[2 * i]) |
                 static_cast<std::uint32_t>(half[2 * i + 1]) << 16;
    }
  }
}

VRAMPLAN_DEVICE float kv_code(std::uint32_t words, int i) {  // a byte, 0..255
  return static_cast<float>((words >> (8 * i)) & 255U);
}

/// Elements d .. d + kCount of an encoded row, d a multiple of kCount.
template <class C, int kCount>
VRAMPLAN_DEVICE void load_codes(const std::byte* row, std::int64_t width, int d,
                                float (&v)[kCount]) {
  constexpr bool kNibbles = std::is_same_v<C, KvQ4_0>;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(row);
  const std::uint8_t* codes = bytes + d;
  float scale = 0.0F;
  if constexpr (std::is_same_v<C, KvI8>) {
    scale = *reinterpret_cast<const float*>(bytes + width);
  } else {
    const std::uint8_t* block = bytes + d / 32 * (kNibbles ? 18 : 34);
    scale = to_f32(*reinterpret_cast<const F16*>(block));
    codes = block + 2 + (kNibbles ? d % 16 : d % 32);
  }
  std::uint32_t words[(kCount + 3) / 4];
  load_bytes<kCount>(codes, words);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    std::uint32_t word = words[i / 4];
    // Signed bytes are read as the byte with its top bit turned, less 128.
    word = kNibbles ? (word >> (d % 32 < 16 ? 0 : 4)) & 0x0f0f0f0fU : word ^ 0x80808080U;
    v[i] = scale * (kv_code(word, i % 4) - (kNibbles ? 8.0F : 128.0F));
  }
}

}  // namespace dev
}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
