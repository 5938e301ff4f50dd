// kv_write: keys and values of new tokens into their slots of the block pool.
#include <cstring>
#include <string>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {

void store_row(DType dtype, const float* x, std::int64_t n, std::byte* to) {
  if (dtype == DType::kF32) {
    std::memcpy(to, x, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  auto* half = reinterpret_cast<std::uint16_t*>(to);
  if (dtype == DType::kBF16) {
    for (std::int64_t i = 0; i < n; ++i) half[i] = f32_to_bf16(x[i]);
    return;
  }
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_f16(half + i, load(x + i));
  for (; i < n; ++i) half[i] = f32_to_f16(x[i]);
}

}  // namespace

void require_supported_kv(DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16) return;
  throw Error(ErrorCode::kUnsupported,
              std::string("the CPU kernels do not keep a KV cache as ") + info(dtype).name)
      .help("use f16, bf16 or f32");
}

void CpuOps::kv_write(const KvLayerView& kv, TensorView k, TensorView v,
                      std::span<const std::int64_t> slots) {
  require_supported_kv(kv.dtype);
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
        store_row(kv.dtype, keys + t * k.columns + h * kv.head_dim, kv.head_dim,
                  key_row(kv, block, h, offset));
        store_row(kv.dtype, values + t * v.columns + h * kv.value_dim, kv.value_dim,
                  value_row(kv, block, h, offset));
      }
    }
  });
}

}  // namespace vramplan::cpu
