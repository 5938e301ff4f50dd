#include "kernels/workspace.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/packed_parts.h"

namespace vramplan {

void Ops::copy(TensorView out, TensorView x) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(x.rows));
  std::iota(rows.begin(), rows.end(), 0);
  gather_rows(out, x, rows);
}

void Ops::kv_pack(const KvLayerView&, const KvLayerView&, std::span<const KvPack>, std::int64_t) {
  throw Error(ErrorCode::kUnsupported, "a KV cache with a residual window on this backend")
      .at("", "--kv-cache-dtype, --kv-policy")
      .help("cpu and dry run it; f16, bf16, fp8 and int8 without one run everywhere");
}

namespace cpu {

Bytes linear_workspace(std::int64_t tokens, std::int64_t in_features, DType weight, DType inputs,
                       int threads) {
  const bool packed = packed_rule(weight) != nullptr;
  const bool rounded = inputs == DType::kF8E4M3 && has_fp8_rows(weight);
  const Bytes codes = rounded ? bytes_of(DType::kF32, tokens, in_features) : Bytes{};
  if (!packed && !is_block_quantised(weight)) return codes;
  if (packed || inputs == DType::kF32)
    return codes + Bytes{4} * dequantised_rows(tokens) * in_features * threads;
  return Bytes{40} * ceil_div(in_features, 32) * tokens;
}

Bytes attention_workspace(std::span<const SequenceSlice> slices, std::int64_t value_dim,
                          const AttentionParams& params, int threads) {
  std::int64_t single = 0;
  Bytes largest_scores;
  for (const SequenceSlice& slice : slices) {
    if (slice.query_count == 1) ++single;
    largest_scores =
        std::max(largest_scores, Bytes{4} * params.heads * slice.query_count * slice.kv_length);
  }
  if (params.naive) return largest_scores;
  const int parts = params.history != nullptr ? threads + 1 : threads;
  return Bytes{4} * (value_dim + 2) * params.heads * parts * single;
}

}  // namespace cpu
}  // namespace vramplan
