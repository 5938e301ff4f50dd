// Attention with all scores in memory: the plain formula, the oracle of the tiled versions and the
// case whose memory grows with the square of the context.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/half.h"
#include "kernels/cpu/kv_cache.h"

namespace vramplan::cpu {
namespace {

/// Sinks [0, sinks) and a window [begin, end) behind them.
struct Visible {
  std::int64_t sinks, begin, end;
  bool has(std::int64_t p) const { return p < sinks || (p >= begin && p < end); }
};

Visible visible_keys(const AttentionCall& call, const SequenceSlice& slice, std::int64_t query) {
  const std::int64_t position = slice.kv_length - slice.query_count + query;
  return {sink_end(*call.params, position), first_after_sinks(*call.params, position),
          position + 1};
}

void score_query(const AttentionCall& call, const SequenceSlice& slice, std::int64_t head,
                 std::int64_t query, float* scores) {
  const KvLayerView& kv = *call.kv;
  const std::int64_t offset = call.query(slice.query_begin + query, head) - call.q;
  const Visible keys = visible_keys(call, slice, query);
  for (std::int64_t p = 0; p < keys.end; ++p) {
    if (!keys.has(p)) continue;
    const float* q = (p < keys.sinks ? call.sink_q : call.q) + offset;
    const std::byte* k =
        key_row(kv, slice.block_table[p / kv.block_tokens], head / call.group, p % kv.block_tokens);
    float dot = 0.0F;
    for (std::int64_t d = 0; d < kv.head_dim; ++d)
      dot += q[d] * kv_element(kv.dtype, k, kv.head_dim, d);
    dot *= call.params->scale;
    const float cap = call.params->softcap;
    scores[p] = cap > 0.0F ? cap * std::tanh(dot / cap) : dot;
  }
}

/// Scores to probabilities; keys that the query does not see get 0.
void softmax(float* scores, std::int64_t length, const Visible& keys) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t p = 0; p < keys.end; ++p) {
    if (keys.has(p)) largest = std::fmax(largest, scores[p]);
  }
  double sum = 0.0;
  for (std::int64_t p = 0; p < length; ++p) {
    scores[p] = keys.has(p) ? std::exp(scores[p] - largest) : 0.0F;
    sum += static_cast<double>(scores[p]);
  }
  for (std::int64_t p = 0; p < keys.end; ++p) {
    scores[p] = static_cast<float>(static_cast<double>(scores[p]) / sum);
  }
}

}  // namespace

void attention_naive(const AttentionCall& call, const SequenceSlice& slice, std::int64_t head,
                     float* scores) {
  const KvLayerView& kv = *call.kv;
  for (std::int64_t query = 0; query < slice.query_count; ++query) {
    score_query(call, slice, head, query, scores + query * slice.kv_length);
  }
  for (std::int64_t query = 0; query < slice.query_count; ++query) {
    softmax(scores + query * slice.kv_length, slice.kv_length, visible_keys(call, slice, query));
  }
  for (std::int64_t query = 0; query < slice.query_count && slice.block_mass != nullptr; ++query) {
    for (std::int64_t k = 0; k < slice.kv_length; ++k) {
      const float weight = scores[query * slice.kv_length + k];
      add_mass(slice, k / kv.block_tokens, static_cast<double>(weight));
    }
  }
  for (std::int64_t query = 0; query < slice.query_count; ++query) {
    const float* p = scores + query * slice.kv_length;
    float* out = call.result(slice.query_begin + query, head);
    std::fill(out, out + kv.value_dim, 0.0F);
    const Visible keys = visible_keys(call, slice, query);
    for (std::int64_t k = 0; k < keys.end; ++k) {
      if (!keys.has(k)) continue;
      const std::byte* v = value_row(kv, slice.block_table[k / kv.block_tokens], head / call.group,
                                     k % kv.block_tokens);
      for (std::int64_t d = 0; d < kv.value_dim; ++d)
        out[d] += p[k] * kv_element(kv.dtype, v, kv.value_dim, d);
    }
  }
}

}  // namespace vramplan::cpu
