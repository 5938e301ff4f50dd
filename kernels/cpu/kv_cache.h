#pragma once
// Addresses inside one layer's part of the block pool (see KvLayerView).
#include "kernels/ops.h"

namespace vramplan::cpu {

/// Errors: kUnsupported, naming the format, unless the cache is f32, f16 or bf16.
void require_supported_kv(DType dtype);

inline std::byte* key_row(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                          std::int64_t offset) {
  const std::int64_t element = (head * kv.block_tokens + offset) * kv.head_dim;
  return kv.base + block * kv.block_stride + element * info(kv.dtype).block_bytes;
}

inline std::byte* value_row(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                            std::int64_t offset) {
  const std::int64_t element = (head * kv.block_tokens + offset) * kv.value_dim;
  return kv.base + block * kv.block_stride + kv.value_offset + element * info(kv.dtype).block_bytes;
}

}  // namespace vramplan::cpu
