#pragma once
// Addresses inside the paged KV cache, as kernels see it.
#include "kernels/cuda/dev.h"

namespace vramplan::cuda::VRAMPLAN_KERNELS {

VRAMPLAN_DEVICE std::byte* key_row(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                                   std::int64_t offset, int element_bytes) {
  return kv.base + block * kv.block_stride +
         (head * kv.block_tokens + offset) * kv.head_dim * element_bytes;
}
VRAMPLAN_DEVICE std::byte* value_row(const KvLayerView& kv, std::int64_t block, std::int64_t head,
                                     std::int64_t offset, int element_bytes) {
  return kv.base + block * kv.block_stride + kv.value_offset +
         (head * kv.block_tokens + offset) * kv.value_dim * element_bytes;
}

}  // namespace vramplan::cuda::VRAMPLAN_KERNELS
