#pragma once
// Addresses inside one layer's part of the block pool (see KvLayerView).
#include "kernels/ops.h"

namespace vramplan::cpu {

/// Errors: kUnsupported, naming the format, unless rows of `width` elements can be kept in it: f32,
/// f16, bf16, f8_e4m3, int8 (any width), q8_0 and q4_0 (multiples of 32).
void require_supported_kv(DType dtype, std::int64_t width);
/// The same of a cache behind a residual window: also kivi2 and kivi4, whose heads have multiples
/// of 32 elements up to 512 and whose blocks multiples of 32 tokens.
void require_supported_history(const KvLayerView& kv);

/// Encodes n elements as a row of kv_row_bytes(dtype, n). f8_e4m3 holds at +-448; NaN stays NaN in
/// the floats, and makes the scale of its block or row NaN in the codes.
void store_kv_row(DType dtype, const float* x, std::int64_t n, std::byte* to);
/// Element i of such a row, by the format's definition; slow.
float kv_element(DType dtype, const std::byte* row, std::int64_t n, std::int64_t i);

inline std::byte* key_row(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                          std::int64_t offset) {
  const std::int64_t row = head * kv.block_tokens + offset;
  return kv.base + block * kv.block_stride + row * kv_row_bytes(kv.dtype, kv.head_dim).n;
}

inline std::byte* value_row(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                            std::int64_t offset) {
  const std::int64_t row = head * kv.block_tokens + offset;
  return kv.base + block * kv.block_stride + kv.value_offset +
         row * kv_row_bytes(kv.dtype, kv.value_dim).n;
}

}  // namespace vramplan::cpu
