#pragma once
// KvFormat: how the cache of a layer encodes. A model may mix them: layers of their own format, and
// beside packed heads some that stay in 16 bits.
#include <bit>
#include <cstdint>
#include <string>

#include "modelcards/dtype.h"

namespace vramplan {

/// How a block's bytes encode. int4, nvfp4, fp8_ds_mla, nvfp4_ds_mla: accounts of other engines'
/// formats (bytes in kv_cache.cc); this executor refuses them by name.
enum class KvFormat : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kFp8,
  kInt8,
  kInt4,
  kQ8_0,
  kQ4_0,
  kNvfp4,
  kKivi2,
  kFp8DsMla,
  kNvfp4DsMla,
  kKivi4
};
inline constexpr int kKvFormats = 13;

/// What kernels would read; of a format with scales the nearest one of plain elements.
DType dtype_of(KvFormat format);
/// f32 f16 bf16 fp8 int8 int4 q8_0 q4_0 nvfp4 kivi2 fp8_ds_mla nvfp4_ds_mla kivi4
const char* name_of(KvFormat format);
/// kivi2, kivi4: their newest tokens are kept apart.
bool needs_residual(KvFormat format);

/// Some of a layer's KV heads, by number.
struct KvHeads {
  static constexpr std::int64_t kMost = 64;
  std::uint64_t bits = 0;
  bool any() const { return bits != 0; }
  bool has(std::int64_t head) const { return (bits >> head & 1) != 0; }
  std::int64_t count() const { return std::popcount(bits); }
  /// Of the heads before `head`.
  std::int64_t count_before(std::int64_t head) const {
    return std::popcount(bits & ((std::uint64_t{1} << head) - 1));
  }
  /// 0 for none.
  std::int64_t end() const { return kMost - std::countl_zero(bits); }
  friend bool operator==(const KvHeads&, const KvHeads&) = default;
};

/// The cache of one layer: a format, and of kivi2 and kivi4 the heads that stay in f16.
struct KvEncoding {
  KvFormat format = KvFormat::kF16;
  KvHeads full_heads = {};
  KvEncoding() = default;
  KvEncoding(KvFormat of, KvHeads full = {}) : format(of), full_heads(full) {}
  friend bool operator==(const KvEncoding&, const KvEncoding&) = default;
};
/// "kivi2/0/2": but for heads 0 and 2.
std::string name_of(const KvEncoding& encoding);

/// Layers [begin, end) of a card.
struct KvLayerRange {
  std::int64_t begin = 0, end = 0;
  KvEncoding encoding;
  friend bool operator==(const KvLayerRange&, const KvLayerRange&) = default;
};

}  // namespace vramplan
