#include "kernels/cuda/workspace.h"

#include <algorithm>

#include "kernels/packed_parts.h"

namespace vramplan::cuda {
namespace {

constexpr Bytes kGranule{256};  // where tensors begin

/// Blocks of the decode kernel per sequence and kv head: enough to give every multiprocessor
/// two, of no less than 256 tokens each, at most 64.
std::int64_t decode_splits(std::int64_t slices, std::int64_t kv_heads, std::int64_t most_kv,
                           int multiprocessors) {
  const std::int64_t wanted = ceil_div(2 * std::int64_t{multiprocessors}, slices * kv_heads);
  const std::int64_t most = std::max<std::int64_t>(1, ceil_div(most_kv, 256));
  return std::clamp<std::int64_t>(std::min(wanted, most), 1, 64);
}

}  // namespace

std::int64_t tile_rows(std::int64_t in_features) {
  return std::clamp<std::int64_t>(kTileBytes / (2 * in_features), 1, kTileRows);
}

Fp8Input fp8_input_in(void* workspace, std::int64_t tokens, std::int64_t in_features) {
  const TensorView codes{workspace, DType::kF8E4M3, tokens, in_features};
  auto* const behind = static_cast<std::byte*>(workspace) + round_up(codes.bytes(), kGranule).n;
  return {codes, reinterpret_cast<float*>(behind)};
}

Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features, DType weight,
                       DType activations, DType inputs) {
  if (inputs == DType::kF8E4M3 && has_fp8_rows(weight)) {
    return round_up(bytes_of(DType::kF8E4M3, tokens, in_features), kGranule) + Bytes{4} * tokens;
  }
  // Packed weights stay with our kernel: their rows do not lie one after another.
  if (activations == DType::kF32 || !is_block_quantised(weight)) return {};
  if (tokens <= kDequantTokens) return {};
  return bytes_of(activations, tile_rows(in_features), in_features);
}

Bytes sampling_workspace(std::int64_t, std::int64_t) { return {}; }

bool is_decode(std::span<const SequenceSlice> slices) {
  return std::all_of(slices.begin(), slices.end(),
                     [](const SequenceSlice& s) { return s.query_count == 1; });
}

Bytes attention_workspace(std::span<const SequenceSlice> slices, const KvLayerView& kv,
                          const AttentionParams& params, std::int64_t most_kv,
                          int multiprocessors) {
  if (params.naive) {
    std::int64_t queries = 0, length = 0;
    for (const SequenceSlice& slice : slices) {
      queries = std::max(queries, slice.query_count);
      length = std::max(length, slice.kv_length);
    }
    return Bytes{4} * params.heads * queries * length;
  }
  const bool adds_up = std::any_of(slices.begin(), slices.end(),
                                   [](const SequenceSlice& s) { return s.block_mass != nullptr; });
  if (!is_decode(slices) || adds_up || params.many_queries) return {};
  const auto count = static_cast<std::int64_t>(slices.size());
  std::int64_t splits = decode_splits(count, kv.kv_heads, most_kv, multiprocessors);
  if (params.history != nullptr || params.sink_tokens > 0)
    splits = std::clamp<std::int64_t>(splits + 2, 4, 64);
  return Bytes{4} * (kv.value_dim + 2) * params.heads * count * splits;
}

}  // namespace vramplan::cuda
