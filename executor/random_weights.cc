#include "executor/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "executor/rng.h"
#include "kernels/cpu/half.h"
#include "kernels/packed_parts.h"

namespace vramplan {
namespace {

std::uint64_t hash_of(const std::string& text) {  // FNV-1a, 64 bits
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

/// Where the f16 factors of a block are, and the standard deviation of an element in units of the
/// factor when all other bits are random. The second factor (minimum) is set so that the mean is 0.
struct BlockLayout {
  std::size_t scale_at;
  std::ptrdiff_t minimum_at;  // -1 = none
  double minimum_per_scale;   // factor of the second, relative to the first
  double deviation;           // derived from uniform codes: see the comment of block_layout
};

/// Uniform codes c of b bits have mean (2^b - 1) / 2 and variance (4^b - 1) / 12; sub-block scales
/// are uniform too, and a product's variance is E[s^2] E[c^2] - (E[s] E[c])^2.
BlockLayout block_layout(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return {0, -1, 0, 4.61};
    case DType::kQ4_1:
      return {0, 2, -7.5, 4.61};
    case DType::kQ5_0:
      return {0, -1, 0, 9.23};
    case DType::kQ5_1:
      return {0, 2, -15.5, 9.23};
    case DType::kQ8_0:
      return {0, -1, 0, 73.9};
    case DType::kQ2_K:
      return {80, 82, 1.5, 13.9};
    case DType::kQ3_K:
      return {108, -1, 0, 43.3};
    case DType::kQ4_K:
      return {0, 2, 7.5, 258};
    case DType::kQ5_K:
      return {0, 2, 15.5, 527};
    case DType::kQ6_K:
      return {208, -1, 0, 1367};
    default:
      break;
  }
  throw Error(ErrorCode::kUnsupported, std::string("random weights of format ") + info(dtype).name)
      .at("", "--weights")
      .help("choose f32, f16, bf16, fp8 or a block format such as q4_k");
}

void fill_blocks(const TensorView& tensor, SplitMix64& rng) {
  const BlockLayout layout = block_layout(tensor.dtype);
  const auto block_bytes = static_cast<std::size_t>(info(tensor.dtype).block_bytes);
  const double scale = 1 / (layout.deviation * std::sqrt(static_cast<double>(tensor.columns)));
  const std::uint16_t first = cpu::f32_to_f16(static_cast<float>(scale));
  const std::uint16_t second =
      cpu::f32_to_f16(static_cast<float>(scale * layout.minimum_per_scale));
  auto* data = static_cast<std::byte*>(tensor.data);
  const std::byte* const end = data + tensor.bytes().n;
  for (; data != end; data += block_bytes) {
    for (std::size_t at = 0; at < block_bytes; at += 8) {
      const std::uint64_t bits = rng.next();
      std::memcpy(data + at, &bits, std::min<std::size_t>(8, block_bytes - at));
    }
    std::memcpy(data + layout.scale_at, &first, 2);
    if (layout.minimum_at >= 0) std::memcpy(data + layout.minimum_at, &second, 2);
  }
}

/// Packed formats: codes of all bits, or fp8 codes of uniform values; scales that give them the
/// standard deviation 1 / sqrt(columns); zero points in the middle; groups in their order.
class PackedFill {
 public:
  explicit PackedFill(const TensorView& tensor)
      : tensor_(tensor),
        rule_(*packed_rule(tensor.dtype)),
        parts_(packed_parts(tensor.dtype, tensor.rows, tensor.columns)),
        data_(static_cast<std::byte*>(tensor.data)) {}

  void run(SplitMix64& rng) {
    const double spread = 1 / std::sqrt(static_cast<double>(tensor_.columns));
    const bool fp8 = tensor_.dtype == DType::kFp8Tensor || tensor_.dtype == DType::kFp8Channel ||
                     tensor_.dtype == DType::kFp8Block;
    for (std::int64_t at = 0; at < parts_.scales; at += 8) {
      std::uint64_t bits = rng.next();
      for (std::int64_t i = at; i < std::min(at + 8, parts_.scales); ++i, bits >>= 8) {
        const auto byte = static_cast<std::uint8_t>(bits);
        const float value = (static_cast<float>(byte) - 127.5F) * (448.0F / 127.5F);
        data_[i] = std::byte{fp8 ? cpu::f32_to_f8(value) : byte};
      }
    }
    // Uniform in (-448, 448); bytes of two's complement; nibbles less 8: see block_layout.
    const double deviation = fp8 ? 448 / std::sqrt(3.0) : rule_.bits == 8 ? 73.9 : 4.61;
    scales(static_cast<float>(spread / deviation));
    const bool gptq = rule_.column_bytes > 0;
    std::fill(data_ + parts_.zeros, data_ + parts_.groups,
              gptq ? std::byte{0x77} : std::byte{0x88});
    for (std::int64_t c = 0; gptq && c < tensor_.columns; ++c) {
      const auto group = static_cast<std::int32_t>(c / parts_.group);
      std::memcpy(data_ + parts_.groups + 4 * c, &group, 4);
    }
  }

 private:
  void scales(float scale) {
    const bool f16 = rule_.zero_bits > 0;  // AWQ and GPTQ
    const std::uint16_t half = f16 ? cpu::f32_to_f16(scale) : cpu::f32_to_bf16(scale);
    const void* const from =
        rule_.scale_bytes == 2 ? static_cast<const void*>(&half) : static_cast<const void*>(&scale);
    for (std::int64_t at = parts_.scales; at < parts_.zeros; at += rule_.scale_bytes) {
      std::memcpy(data_ + at, from, static_cast<std::size_t>(rule_.scale_bytes));
    }
    if (tensor_.dtype == DType::kFp8Tensor) {
      const float both[2] = {scale, 1.0F};  // of the weight and of its input
      std::memcpy(data_ + parts_.matrix, both, sizeof both);
    } else if (rule_.matrix_bytes == 16) {
      const std::int64_t shape[2] = {tensor_.rows, tensor_.columns};
      std::memcpy(data_ + parts_.matrix, shape, sizeof shape);
    }
  }

  const TensorView& tensor_;
  const PackedRule& rule_;
  PackedParts parts_;
  std::byte* data_;
};

/// Uniform values of mean `middle` and half width `reach`.
template <class Store>
void fill_elements(const TensorView& tensor, SplitMix64& rng, float middle, float reach,
                   Store store) {
  const std::int64_t count = tensor.rows * tensor.columns;
  for (std::int64_t i = 0; i < count; i += 2) {  // two 32-bit draws of one 64-bit number
    const std::uint64_t bits = rng.next();
    const float a = static_cast<float>(static_cast<std::uint32_t>(bits) >> 8) * 0x1p-23F - 1.0F;
    const float b =
        static_cast<float>(static_cast<std::uint32_t>(bits >> 32) >> 8) * 0x1p-23F - 1.0F;
    store(i, middle + reach * a);
    if (i + 1 < count) store(i + 1, middle + reach * b);
  }
}

}  // namespace

void fill_random(const TensorView& tensor, const std::string& name, TensorRole role,
                 bool norm_one_plus, std::uint64_t seed) {
  SplitMix64 mixer(seed ^ hash_of(name));
  SplitMix64 rng(mixer.next());
  if (packed_rule(tensor.dtype) != nullptr) return PackedFill(tensor).run(rng);
  if (is_block_quantised(tensor.dtype)) return fill_blocks(tensor, rng);
  const bool matrix = role == TensorRole::kMatrix || role == TensorRole::kTable;
  // A uniform distribution of half width r has the standard deviation r / sqrt(3).
  const float reach =
      matrix ? static_cast<float>(std::sqrt(3.0 / static_cast<double>(tensor.columns))) : 0.1F;
  const float middle = role == TensorRole::kNorm && !norm_one_plus ? 1.0F : 0.0F;
  switch (tensor.dtype) {
    case DType::kF32:
      return fill_elements(
          tensor, rng, middle, reach,
          [out = static_cast<float*>(tensor.data)](std::int64_t i, float v) { out[i] = v; });
    case DType::kF16:
      return fill_elements(tensor, rng, middle, reach,
                           [out = static_cast<std::uint16_t*>(tensor.data)](
                               std::int64_t i, float v) { out[i] = cpu::f32_to_f16(v); });
    case DType::kBF16:
      return fill_elements(tensor, rng, middle, reach,
                           [out = static_cast<std::uint16_t*>(tensor.data)](
                               std::int64_t i, float v) { out[i] = cpu::f32_to_bf16(v); });
    case DType::kF8E4M3:
      return fill_elements(tensor, rng, middle, reach,
                           [out = static_cast<std::uint8_t*>(tensor.data)](
                               std::int64_t i, float v) { out[i] = cpu::f32_to_f8(v); });
    default:
      block_layout(tensor.dtype);  // throws: no such format
  }
}

}  // namespace vramplan
