// Attention of single queries over a history and the residual window behind it: two caches of
// different formats, read part by part into one table and merged by log-sum-exp.
#include <algorithm>

#include "kernels/cpu/attention.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/packed_tile.h"

namespace vramplan::cpu {
namespace {

constexpr std::int64_t kKeysTogether = 32;  // parts of a history begin at whole tiles

}  // namespace

void check_history(const KvLayerView& recent, std::span<const SequenceSlice> slices,
                   const AttentionParams& params) {
  const KvLayerView& history = *params.history;
  VRAMPLAN_CHECK(!params.naive && params.window_tokens == 0 && params.sink_tokens == 0);
  VRAMPLAN_CHECK(params.history_slices.size() == slices.size());
  VRAMPLAN_CHECK(history.kv_heads == recent.kv_heads && history.head_dim == recent.head_dim &&
                 history.value_dim == recent.value_dim);
  for (const SequenceSlice& slice : params.history_slices) {
    const std::int64_t blocks = ceil_div(slice.kv_length, history.block_tokens);
    for (std::int64_t b = 0; b < blocks; ++b) {
      VRAMPLAN_CHECK(slice.block_table[b] >= 0 && slice.block_table[b] < history.block_count);
    }
    if (packed_bits(history.dtype) == 0) continue;
    VRAMPLAN_CHECK(history.block_tokens % kTileLanes == 0 && slice.kv_length % kTileLanes == 0);
  }
}

void CpuOps::attention_over_history(const AttentionCall& call,
                                    std::span<const SequenceSlice> slices, float* workspace) {
  const auto singles = static_cast<std::int64_t>(single_query_.size());
  if (singles == 0) return;
  const KvLayerView& history = *call.params->history;
  const std::int64_t threads = pool_.size(), parts = threads + 1;
  const PartialTable table{workspace, call.params->heads, parts, history.value_dim};
  // Heads of two formats are read one by one.
  const std::int64_t together =
      history.full_heads != 0
          ? 1
          : std::min(heads_together(*call.kv, call.group), heads_together(history, call.group));
  const std::int64_t units = ceil_div(history.kv_heads, together);
  const auto read = [&](std::int64_t item, float* scratch) {
    const std::int64_t head = item % units * together;
    const std::int64_t part = item / units % parts, single = item / units / parts;
    const auto index = static_cast<std::size_t>(single_query_[static_cast<std::size_t>(single)]);
    const std::int64_t heads = std::min(together, history.kv_heads - head);
    // The residual window is the short part: it goes last.
    if (part == threads) {
      const SequenceSlice& recent = slices[index];
      attention_decode(call, {&recent, single, head, heads, 0, recent.kv_length, part}, &table,
                       scratch);
      return;
    }
    SequenceSlice slice = call.params->history_slices[index];
    slice.query_begin = slices[index].query_begin;
    const std::int64_t tiles = ceil_div(slice.kv_length, kKeysTogether);
    const std::int64_t share = ceil_div(tiles, threads) * kKeysTogether;
    const std::int64_t from = std::min(part * share, slice.kv_length);
    const std::int64_t to = std::min(from + share, slice.kv_length);
    const DecodeWork work{&slice, single, head, heads, from, to, part};
    const KvLayerView view = view_of_head(history, head);
    AttentionCall of_history = call;
    of_history.kv = &view;
    if (packed_bits(view.dtype) > 0)
      attention_decode_packed(of_history, work, &table, scratch);
    else
      attention_decode(of_history, work, &table, scratch);
  };
  pool_.parallel_for(singles * parts * units, 1,
                     [&](std::int64_t first, std::int64_t last, int thread) {
                       for (std::int64_t item = first; item < last; ++item)
                         read(item, scratch(thread));
                     });
  for (std::int64_t single = 0; single < singles; ++single) {
    const auto i = static_cast<std::size_t>(single_query_[static_cast<std::size_t>(single)]);
    for (std::int64_t head = 0; head < call.params->heads; ++head) {
      attention_merge(call, table, single, slices[i].query_begin, head);
    }
  }
}

}  // namespace vramplan::cpu
