// attention: checks, and the sharing of the work among the threads.
#include "kernels/cpu/attention.h"

#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/kv_cache.h"

namespace vramplan::cpu {
namespace {

// Shorter contexts are not split: reading them costs less than merging.
constexpr std::int64_t kKeysPerPart = 64;
// Parts begin where the keys of whole vectors lie in one block, whatever the vector's width.
constexpr std::int64_t kKeysTogether = 16;

void check_call(const TensorView& out, const TensorView& q, const KvLayerView& kv,
                std::span<const SequenceSlice> slices, const AttentionParams& params) {
  require_supported_kv(kv.dtype, kv.head_dim);
  require_supported_kv(kv.dtype, kv.value_dim);
  VRAMPLAN_CHECK(kv.kv_heads > 0 && params.heads > 0 && params.heads % kv.kv_heads == 0);
  VRAMPLAN_CHECK(kv.block_tokens > 0 && kv.head_dim > 0 && kv.value_dim > 0);
  VRAMPLAN_CHECK(q.columns == params.heads * kv.head_dim);
  VRAMPLAN_CHECK(out.columns == params.heads * kv.value_dim && out.rows == q.rows);
  VRAMPLAN_CHECK(params.sink_tokens == 0 ||
                 (params.window_tokens > 0 && params.sink_q.rows == q.rows &&
                  params.sink_q.columns == q.columns));
  if (params.history != nullptr) {
    require_supported_history(*params.history);
    check_history(kv, slices, params);
  }
  for (const SequenceSlice& slice : slices) {
    VRAMPLAN_CHECK(slice.block_mass == nullptr || params.sink_tokens == 0);
    VRAMPLAN_CHECK(slice.query_begin >= 0 && slice.query_count >= 0);
    VRAMPLAN_CHECK(slice.query_begin + slice.query_count <= q.rows);
    VRAMPLAN_CHECK(slice.query_count <= slice.kv_length);
    const std::int64_t blocks = ceil_div(slice.kv_length, kv.block_tokens);
    for (std::int64_t b = 0; b < blocks; ++b) {
      VRAMPLAN_CHECK(slice.block_table[b] >= 0 && slice.block_table[b] < kv.block_count);
    }
  }
}

}  // namespace

void CpuOps::attention(TensorView out, TensorView q, const KvLayerView& kv,
                       std::span<const SequenceSlice> slices, const AttentionParams& params,
                       TensorView workspace) {
  check_call(out, q, kv, slices, params);
  const Bytes needed = attention_workspace(slices, kv, params);
  VRAMPLAN_CHECK(needed.n == 0 || (workspace.data != nullptr && workspace.bytes() >= needed));
  const AttentionCall call{&kv,
                           &params,
                           f32_data(q),
                           f32_data(out),
                           params.heads / kv.kv_heads,
                           params.sink_tokens > 0 ? f32_data(params.sink_q) : nullptr};
  auto* scratch_floats = static_cast<float*>(workspace.data);
  if (params.naive) {
    for (const SequenceSlice& slice : slices) {
      pool_.parallel_for(params.heads, 1, [&](std::int64_t first, std::int64_t last, int) {
        for (std::int64_t h = first; h < last; ++h) {
          attention_naive(call, slice, h, scratch_floats + h * slice.query_count * slice.kv_length);
        }
      });
    }
    return;
  }
  require_supported_heads(kv, call.group);
  single_query_.clear();
  for (std::size_t i = 0; i < slices.size(); ++i) {
    // The tiles of many queries also add up what each block got.
    const bool single = slices[i].query_count == 1 && slices[i].block_mass == nullptr;
    if (single) single_query_.push_back(static_cast<std::int32_t>(i));
    if (single || slices[i].query_count == 0) continue;
    const SequenceSlice* history = params.history != nullptr ? &params.history_slices[i] : nullptr;
    if (history == nullptr && few_queries(call, slices[i], pool_.size())) {
      attention_few_queries(call, slices[i]);
      continue;
    }
    const std::int64_t tiles = prefill_tiles(call, slices[i]);
    // Later tiles see more keys: they are drawn first, so that the last ones drawn are short.
    pool_.parallel_for(tiles * kv.kv_heads, 1,
                       [&](std::int64_t first, std::int64_t last, int thread) {
                         for (std::int64_t item = first; item < last; ++item) {
                           attention_prefill(call, slices[i], history, item % kv.kv_heads,
                                             tiles - 1 - item / kv.kv_heads, scratch(thread));
                         }
                       });
  }
  if (params.history != nullptr) return attention_over_history(call, slices, scratch_floats);
  attention_single_queries(call, slices, scratch_floats);
}

void CpuOps::attention_few_queries(const AttentionCall& call, const SequenceSlice& slice) {
  const std::int64_t parts = pool_.size();
  part_scratch_.resize(static_cast<std::size_t>(parts));
  for (std::int64_t i = 0; i < parts; ++i) {
    part_scratch_[static_cast<std::size_t>(i)] = scratch(static_cast<int>(i));
  }
  pool_.parallel_for(parts, 1, [&](std::int64_t first, std::int64_t last, int thread) {
    for (std::int64_t part = first; part < last; ++part) {
      const PrefillPart keys{part, parts, part_scratch_[static_cast<std::size_t>(part)]};
      attention_prefill_part(call, slice, keys, scratch(thread));
    }
  });
  attention_prefill_merge(call, slice, part_scratch_);
}

void CpuOps::attention_single_queries(const AttentionCall& call,
                                      std::span<const SequenceSlice> slices, float* workspace) {
  const auto singles = static_cast<std::int64_t>(single_query_.size());
  if (singles == 0) return;
  const KvLayerView& kv = *call.kv;
  const std::int64_t threads = pool_.size();
  const std::int64_t heads = singles * kv.kv_heads;
  std::int64_t longest = 0;
  for (const std::int32_t i : single_query_) {
    const std::int64_t length = slices[static_cast<std::size_t>(i)].kv_length;
    longest = std::max(longest, length - first_after_sinks(*call.params, length - 1));
  }
  const bool split = threads > 1 && heads < 4 * threads && longest >= 2 * kKeysPerPart;
  const std::int64_t parts = split ? threads : 1;
  const PartialTable table{workspace, call.params->heads, parts, kv.value_dim};
  // The KV heads of a part lie side by side in the cache and are read together, unless single heads
  // share the work more evenly.
  const bool even = singles * parts % threads == 0 || singles * parts >= 8 * threads;
  const std::int64_t together = even ? heads_together(kv, call.group) : 1;
  const std::int64_t units = ceil_div(kv.kv_heads, together), items = singles * parts * units;
  // A short context is done by the caller alone: waking others would take longer.
  const std::int64_t chunk = longest * heads * call.group < 256 ? items : 1;
  const auto work_of = [&](std::int64_t item) {
    const std::int64_t head = item % units * together;
    const std::int64_t part = item / units % parts, single = item / units / parts;
    const auto index = static_cast<std::size_t>(single_query_[static_cast<std::size_t>(single)]);
    const SequenceSlice& slice = slices[index];
    const std::int64_t begin = first_after_sinks(*call.params, slice.kv_length - 1);
    const std::int64_t share = ceil_div(slice.kv_length - begin, parts);
    const std::int64_t count = ceil_div(share, kKeysTogether) * kKeysTogether;
    const std::int64_t from = std::min(begin + part * count, slice.kv_length);
    const std::int64_t to = std::min(from + count, slice.kv_length);
    return DecodeWork{&slice, single, head, std::min(together, kv.kv_heads - head), from, to, part};
  };
  pool_.parallel_for(items, chunk, [&](std::int64_t first, std::int64_t last, int thread) {
    for (std::int64_t item = first; item < last; ++item) {
      attention_decode(call, work_of(item), split ? &table : nullptr, scratch(thread));
    }
  });
  if (!split) return;
  for (std::int64_t single = 0; single < singles; ++single) {
    const auto i = static_cast<std::size_t>(single_query_[static_cast<std::size_t>(single)]);
    for (std::int64_t head = 0; head < call.params->heads; ++head) {
      attention_merge(call, table, single, slices[i].query_begin, head);
    }
  }
}

}  // namespace vramplan::cpu
