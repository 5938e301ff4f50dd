// kv_write: keys and values of new tokens into their slots of the block pool.
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_cache.h"

namespace vramplan::cpu {

void CpuOps::kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                      std::span<const std::int64_t> slots) {
  require_supported_kv(kv.dtype, kv.head_dim);
  require_supported_kv(kv.dtype, kv.value_dim);
  const auto tokens = static_cast<std::int64_t>(slots.size());
  VRAMPLAN_CHECK(k.rows == tokens && v.rows == tokens);
  VRAMPLAN_CHECK(k.columns == kv.kv_heads * kv.head_dim && v.columns == kv.kv_heads * kv.value_dim);
  const float* keys = f32_data(k);
  const float* values = f32_data(v);
  for (const std::int64_t slot : slots) {
    VRAMPLAN_CHECK(slot >= 0 && slot < kv.block_count * kv.block_tokens);
  }
  for_rows(tokens, k.columns + v.columns, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t t = first; t < last; ++t) {
      const std::int64_t slot = slots[static_cast<std::size_t>(t)];
      const std::int64_t block = slot / kv.block_tokens, offset = slot % kv.block_tokens;
      for (std::int64_t h = 0; h < kv.kv_heads; ++h) {
        store_kv_row(kv.dtype, keys + t * k.columns + h * kv.head_dim, kv.head_dim,
                     key_row(kv, block, h, offset));
        store_kv_row(kv.dtype, values + t * v.columns + h * kv.value_dim, kv.value_dim,
                     value_row(kv, block, h, offset));
      }
    }
  });
}

}  // namespace vramplan::cpu
