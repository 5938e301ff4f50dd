// Rows of the KV cache: one token's K or V of one head, encoded.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/packed_tile.h"
#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {

constexpr std::int64_t kBlock = 32;  // elements that share a scale in q8_0 and q4_0

template <class T>
void put(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}
template <class T>
T get(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// Largest magnitude; NaN when there is one.
float max_magnitude(const float* x, std::int64_t n) {
  float most = 0.0F;
  for (std::int64_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(x[i]);
    if (!(magnitude <= most)) most = magnitude;  // also NaN
    if (std::isnan(most)) return most;
  }
  return most;
}

void store_codes(const float* x, std::int64_t n, float inverse, std::byte* to) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float code = std::nearbyint(x[i] * inverse);
    const float held = code > 127.0F ? 127.0F : code < -127.0F ? -127.0F : code;
    to[i] = static_cast<std::byte>(std::isnan(held) ? 0 : static_cast<std::int8_t>(held));
  }
}

float inverse_of(float most, float steps) { return most > 1e-36F ? steps / most : 0.0F; }

void store_q8_0(const float* x, std::int64_t n, std::byte* to) {
  for (std::int64_t b = 0; b < n; b += kBlock, to += 2 + kBlock) {
    const float most = max_magnitude(x + b, kBlock);
    put(to, f32_to_f16(most / 127.0F));
    store_codes(x + b, kBlock, inverse_of(most, 127.0F), to + 2);
  }
}

/// The element of largest magnitude becomes code 0, which is -8: its side of zero has one step
/// more.
void store_q4_0(const float* x, std::int64_t n, std::byte* to) {
  for (std::int64_t b = 0; b < n; b += kBlock, to += 2 + kBlock / 2) {
    float most = 0.0F;
    for (std::int64_t i = b; i < b + kBlock; ++i)
      if (!std::isnan(most) && !(std::fabs(x[i]) <= std::fabs(most))) most = x[i];
    const float scale = most / -8.0F;
    const float inverse = std::fabs(most) > 1e-36F ? 1.0F / scale : 0.0F;
    put(to, f32_to_f16(scale));
    const auto code = [&](std::int64_t i) {
      const float value = x[b + i] * inverse + 8.5F;
      return static_cast<unsigned>(value >= 15.0F ? 15.0F : value >= 0.0F ? value : 0.0F);
    };
    for (std::int64_t i = 0; i < kBlock / 2; ++i)
      to[2 + i] = static_cast<std::byte>(code(i) | code(i + kBlock / 2) << 4);
  }
}

void store_f16_row(const float* x, std::int64_t n, std::byte* to) {
  auto* half = reinterpret_cast<std::uint16_t*>(to);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_f16(half + i, load(x + i));
  for (; i < n; ++i) half[i] = f32_to_f16(x[i]);
}

}  // namespace

void require_supported_kv(DType dtype, std::int64_t width) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kF8E4M3:
    case DType::kI8:
      return;
    case DType::kQ8_0:
    case DType::kQ4_0:
      if (width % kBlock == 0) return;
      throw Error(ErrorCode::kUnsupported, "a KV cache of " + std::string(info(dtype).name) +
                                               " with heads of " + std::to_string(width) +
                                               " elements")
          .help("its blocks hold 32 elements; use int8, fp8 or f16");
    default:
      throw Error(ErrorCode::kUnsupported,
                  std::string("the CPU kernels do not keep a KV cache as ") + info(dtype).name)
          .help("use f32, f16, bf16, fp8, int8, q8_0 or q4_0");
  }
}

void require_supported_history(const KvLayerView& kv) {
  if (packed_bits(kv.dtype) == 0) {
    require_supported_kv(kv.dtype, kv.head_dim);
    return require_supported_kv(kv.dtype, kv.value_dim);
  }
  for (const std::int64_t width : {kv.head_dim, kv.value_dim}) {
    if (width > 0 && width % kTileLanes == 0 && width <= 512) continue;
    throw Error(ErrorCode::kUnsupported, std::string("a KV cache of ") + info(kv.dtype).name +
                                             " with heads of " + std::to_string(width) +
                                             " elements")
        .help("its tiles hold 32 elements of a head, of at most 512; use int8, fp8 or f16");
  }
  VRAMPLAN_CHECK(kv.block_tokens % kTileLanes == 0);
}

void store_kv_row(DType dtype, const float* x, std::int64_t n, std::byte* to) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(to, x, static_cast<std::size_t>(n) * sizeof(float));
      return;
    case DType::kF16:
      return store_f16_row(x, n, to);
    case DType::kBF16:
      for (std::int64_t i = 0; i < n; ++i) put(to + 2 * i, f32_to_bf16(x[i]));
      return;
    case DType::kF8E4M3:
      for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<std::byte>(f32_to_f8(x[i]));
      return;
    case DType::kQ8_0:
      return store_q8_0(x, n, to);
    case DType::kQ4_0:
      return store_q4_0(x, n, to);
    default: {  // int8
      const float most = max_magnitude(x, n);
      store_codes(x, n, inverse_of(most, 127.0F), to);
      put(to + n, most / 127.0F);
    }
  }
}

float kv_element(DType dtype, const std::byte* row, std::int64_t n, std::int64_t i) {
  switch (dtype) {
    case DType::kF32:
      return get<float>(row + 4 * i);
    case DType::kF16:
      return f16_to_f32(get<std::uint16_t>(row + 2 * i));
    case DType::kBF16:
      return bf16_to_f32(get<std::uint16_t>(row + 2 * i));
    case DType::kF8E4M3:
      return f8_to_f32(get<std::uint8_t>(row + i));
    case DType::kQ8_0: {
      const std::byte* block = row + i / kBlock * (2 + kBlock);
      return f16_to_f32(get<std::uint16_t>(block)) *
             static_cast<float>(get<std::int8_t>(block + 2 + i % kBlock));
    }
    case DType::kQ4_0: {
      const std::byte* block = row + i / kBlock * (2 + kBlock / 2);
      const std::int64_t at = i % kBlock;
      const auto pair = get<std::uint8_t>(block + 2 + at % (kBlock / 2));
      const int code = at < kBlock / 2 ? pair & 15 : pair >> 4;
      return f16_to_f32(get<std::uint16_t>(block)) * static_cast<float>(code - 8);
    }
    default:
      return get<float>(row + n) * static_cast<float>(get<std::int8_t>(row + i));
  }
}

}  // namespace vramplan::cpu
