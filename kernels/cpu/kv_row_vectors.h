#pragma once
// Rows of the cache as vectors of f32, read where they lie: `at(row, d)` is elements d .. d +
// kLanes of the row-th row from the first. Each is made of the address of the first row and the
// width.
#include <cstring>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/simd.h"

namespace vramplan::cpu {
namespace {  // each file has its own copy, for its own vector width

/// Of what `at` gives, the element is kUnit times: a factor left to the sums.
struct WholeUnit {
  static constexpr float kUnit = 1.0F;
};

/// A copy that was widened already.
struct WideRows : WholeUnit {
  WideRows(const float* first, std::int64_t n) : base(first), width(n) {}
  const float* base;
  std::int64_t width;
  Vf at(std::int64_t row, std::int64_t d) const { return load(base + row * width + d); }
};

struct F32Rows : WholeUnit {
  F32Rows(const std::byte* first, std::int64_t n)
      : base(reinterpret_cast<const float*>(first)), width(n) {}
  Vf at(std::int64_t row, std::int64_t d) const { return load(base + row * width + d); }
  const float* base;
  std::int64_t width;
};

struct F16Rows : WholeUnit {
  F16Rows(const std::byte* first, std::int64_t n)
      : base(reinterpret_cast<const std::uint16_t*>(first)), width(n) {}
  Vf at(std::int64_t row, std::int64_t d) const { return load_f16(base + row * width + d); }
  const std::uint16_t* base;
  std::int64_t width;
};

struct BF16Rows : WholeUnit {
  BF16Rows(const std::byte* first, std::int64_t n)
      : base(reinterpret_cast<const std::uint16_t*>(first)), width(n) {}
  Vf at(std::int64_t row, std::int64_t d) const { return load_bf16(base + row * width + d); }
  const std::uint16_t* base;
  std::int64_t width;
};

struct F8Rows : WholeUnit {
  F8Rows(const std::byte* first, std::int64_t n)
      : base(reinterpret_cast<const std::uint8_t*>(first)), width(n) {}
  Vf at(std::int64_t row, std::int64_t d) const { return load_f8(base + row * width + d); }
  const std::uint8_t* base;
  std::int64_t width;
};

/// The same of rows without a NaN.
struct F8NumberRows {
  static constexpr float kUnit = 256.0F;
  F8NumberRows(const std::byte* first, std::int64_t n)
      : base(reinterpret_cast<const std::uint8_t*>(first)), width(n) {}
  Vf at(std::int64_t row, std::int64_t d) const { return load_f8_256th(base + row * width + d); }
  const std::uint8_t* base;
  std::int64_t width;
};

/// Codes, then the row's scale.
struct Int8Rows : WholeUnit {
  Int8Rows(const std::byte* first, std::int64_t n) : base(first), width(n) {}
  Vf at(std::int64_t row, std::int64_t d) const {
    const std::byte* codes = base + row * (width + 4);
    float scale = 0;
    std::memcpy(&scale, codes + width, sizeof scale);
    return to_float(widen_i8(reinterpret_cast<const std::int8_t*>(codes + d))) * set1(scale);
  }
  const std::byte* base;
  std::int64_t width;
};

/// Blocks of an f16 scale and 32 codes.
struct Q8Rows : WholeUnit {
  Q8Rows(const std::byte* first, std::int64_t n) : base(first), width(n) {}
  Vf at(std::int64_t row, std::int64_t d) const {
    const std::byte* block = base + (row * (width / 32) + d / 32) * 34;
    std::uint16_t half = 0;
    std::memcpy(&half, block, sizeof half);
    const auto* codes = reinterpret_cast<const std::int8_t*>(block + 2) + d % 32;
    return to_float(widen_i8(codes)) * set1(f16_to_f32(half));
  }
  const std::byte* base;
  std::int64_t width;
};

/// Calls function.template operator()(Rows*) with the reader of a format; see reads_in_place.
template <class Function>
void with_rows(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::kF32:
      return function(static_cast<F32Rows*>(nullptr));
    case DType::kF16:
      return function(static_cast<F16Rows*>(nullptr));
    case DType::kBF16:
      return function(static_cast<BF16Rows*>(nullptr));
    case DType::kF8E4M3:
      return function(static_cast<F8Rows*>(nullptr));
    case DType::kI8:
      return function(static_cast<Int8Rows*>(nullptr));
    default:
      return function(static_cast<Q8Rows*>(nullptr));
  }
}

/// True when kLanes keys from a multiple of kLanes lie one behind the other in the cache as whole
/// vectors that a reader above turns into f32: then nothing needs a copy.
inline bool reads_in_place(const KvLayerView& kv) {
  const bool readable = kv.dtype == DType::kF32 || kv.dtype == DType::kF16 ||
                        kv.dtype == DType::kBF16 || kv.dtype == DType::kF8E4M3 ||
                        kv.dtype == DType::kI8 || kv.dtype == DType::kQ8_0;
  return readable && kv.head_dim % kLanes == 0 && kv.value_dim % kLanes == 0 &&
         kv.block_tokens % kLanes == 0;
}

}  // namespace
}  // namespace vramplan::cpu
