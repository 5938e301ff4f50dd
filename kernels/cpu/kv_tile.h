#pragma once
// Rows of the cache as f32, padded with zeros to whole vectors.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {  // each file has its own copy, for its own vector width

[[maybe_unused]] std::int64_t padded(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

/// n elements at `from` to to[0..padded(n)).
[[maybe_unused]] void widen_row(DType dtype, const std::byte* from, std::int64_t n, float* to) {
  const auto* half = reinterpret_cast<const std::uint16_t*>(from);
  std::int64_t i = 0;
  if (dtype == DType::kF16) {
    for (; i + kLanes <= n; i += kLanes) store(to + i, load_f16(half + i));
    for (; i < n; ++i) to[i] = f16_to_f32(half[i]);
  } else if (dtype == DType::kBF16) {
    for (; i + kLanes <= n; i += kLanes) store(to + i, load_bf16(half + i));
    for (; i < n; ++i) to[i] = bf16_to_f32(half[i]);
  } else {
    std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float));
    i = n;
  }
  for (; i < padded(n); ++i) to[i] = 0.0F;
}

enum class KvPart : std::uint8_t { kKey, kValue };

/// Rows of cache positions [begin, end) of one KV head to `to` [end - begin, padded(dim)].
[[maybe_unused]] void widen_rows(const KvLayerView& kv, KvPart which,
                                 const std::int32_t* block_table, std::int64_t head,
                                 std::int64_t begin, std::int64_t end, float* to) {
  const std::int64_t n = which == KvPart::kKey ? kv.head_dim : kv.value_dim;
  const std::int64_t row_bytes = n * info(kv.dtype).block_bytes;
  for (std::int64_t p = begin; p < end;) {
    const std::int64_t block = block_table[p / kv.block_tokens], offset = p % kv.block_tokens;
    const std::int64_t run = std::min(kv.block_tokens - offset, end - p);
    const std::byte* from = which == KvPart::kKey ? key_row(kv, block, head, offset)
                                                  : value_row(kv, block, head, offset);
    for (std::int64_t i = 0; i < run; ++i, to += padded(n)) {
      widen_row(kv.dtype, from + i * row_bytes, n, to);
    }
    p += run;
  }
}

/// Asks for those rows ahead of their use: blocks lie apart, which ends a hardware prefetch.
[[maybe_unused]] void prefetch_rows(const KvLayerView& kv, KvPart which,
                                    const std::int32_t* block_table, std::int64_t head,
                                    std::int64_t begin, std::int64_t end) {
  const std::int64_t n = which == KvPart::kKey ? kv.head_dim : kv.value_dim;
  const std::int64_t row_bytes = n * info(kv.dtype).block_bytes;
  for (std::int64_t p = begin; p < end;) {
    const std::int64_t block = block_table[p / kv.block_tokens], offset = p % kv.block_tokens;
    const std::int64_t run = std::min(kv.block_tokens - offset, end - p);
    const std::byte* from = which == KvPart::kKey ? key_row(kv, block, head, offset)
                                                  : value_row(kv, block, head, offset);
    for (std::int64_t i = 0; i < run * row_bytes; i += 64) __builtin_prefetch(from + i);
    p += run;
  }
}

}  // namespace
}  // namespace vramplan::cpu
