#pragma once
// Rows of the cache as f32, padded with zeros to whole vectors.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {  // each file has its own copy, for its own vector width

[[maybe_unused]] std::int64_t padded(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

/// n codes at `codes` times `scale` to to[0..n); kLanes divides n, or the rest goes one by one.
[[maybe_unused]] void widen_codes(const std::int8_t* codes, std::int64_t n, float scale,
                                  float* to) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, to_float(widen_i8(codes + i)) * set1(scale));
  for (; i < n; ++i) to[i] = static_cast<float>(codes[i]) * scale;
}

inline float half_at(const std::byte* from) {
  std::uint16_t half = 0;
  std::memcpy(&half, from, sizeof half);
  return f16_to_f32(half);
}

/// Blocks of 32: elements 0..15 in the low halves of 16 bytes, 16..31 in the high ones.
[[maybe_unused]] void widen_q4_0(const std::byte* from, std::int64_t n, float* to) {
  const Vi mask = set1_i32(15);
  for (std::int64_t b = 0; b < n; b += 32, from += 18) {
    const Vf scale = set1(half_at(from));
    const auto* pairs = reinterpret_cast<const std::uint8_t*>(from + 2);
    for (int i = 0; i < 16; i += kLanes) {
      const Vi both = widen_u8(pairs + i);
      const Vi high = reinterpret_cast<Vi>((reinterpret_cast<Vs>(both) >> 4));
      store(to + b + i, (to_float(both & mask) - set1(8.0F)) * scale);
      store(to + b + 16 + i, (to_float(high & mask) - set1(8.0F)) * scale);
    }
  }
}

[[maybe_unused]] void widen_f8(const std::byte* from, std::int64_t n, float* to) {
  const auto* codes = reinterpret_cast<const std::uint8_t*>(from);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load_f8(codes + i));
  for (; i < n; ++i) to[i] = f8_to_f32(codes[i]);
}

/// The n elements of an encoded row to to[0..padded(n)).
[[maybe_unused]] void widen_row(DType dtype, const std::byte* from, std::int64_t n, float* to) {
  const auto* half = reinterpret_cast<const std::uint16_t*>(from);
  const auto* codes = reinterpret_cast<const std::int8_t*>(from);
  std::int64_t i = 0;
  switch (dtype) {
    case DType::kF16:
      for (; i + kLanes <= n; i += kLanes) store(to + i, load_f16(half + i));
      for (; i < n; ++i) to[i] = f16_to_f32(half[i]);
      break;
    case DType::kBF16:
      for (; i + kLanes <= n; i += kLanes) store(to + i, load_bf16(half + i));
      for (; i < n; ++i) to[i] = bf16_to_f32(half[i]);
      break;
    case DType::kF8E4M3:
      widen_f8(from, n, to);
      break;
    case DType::kI8: {
      float scale = 0;
      std::memcpy(&scale, from + n, sizeof scale);
      widen_codes(codes, n, scale, to);
      break;
    }
    case DType::kQ8_0:
      for (std::int64_t b = 0; b < n; b += 32, from += 34)
        widen_codes(reinterpret_cast<const std::int8_t*>(from + 2), 32, half_at(from), to + b);
      break;
    case DType::kQ4_0:
      widen_q4_0(from, n, to);
      break;
    default:
      std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float));
  }
  for (i = n; i < padded(n); ++i) to[i] = 0.0F;
}

enum class KvPart : std::uint8_t { kKey, kValue };

/// Rows of cache positions [begin, end) of one KV head to `to` [end - begin, padded(dim)].
[[maybe_unused]] void widen_rows(const KvLayerView& kv, KvPart which,
                                 const std::int32_t* block_table, std::int64_t head,
                                 std::int64_t begin, std::int64_t end, float* to) {
  const std::int64_t n = which == KvPart::kKey ? kv.head_dim : kv.value_dim;
  const std::int64_t row_bytes = kv_row_bytes(kv.dtype, n).n;
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
  const std::int64_t row_bytes = kv_row_bytes(kv.dtype, n).n;
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
