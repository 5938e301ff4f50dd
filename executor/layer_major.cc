// Prefill layer by layer: every chunk of a prompt goes through a layer before any goes through the
// next.
#include <algorithm>
#include <vector>

#include "executor/transformer.h"

namespace vramplan {
namespace {

/// Rows [begin, end) of a pass over one sequence.
struct Chunk {
  Chunk(const PassInput& pass, std::int64_t begin_, std::int64_t end_) : begin(begin_), end(end_) {
    const auto at = static_cast<std::size_t>(begin);
    const auto count = static_cast<std::size_t>(end - begin);
    const auto rows = static_cast<std::int64_t>(pass.ids.size());
    for (const GroupInput& whole : pass.groups) {
      VRAMPLAN_CHECK(whole.slices.size() == 1 && whole.sink_positions.empty());
      SequenceSlice slice = whole.slices.front();
      slice.query_begin = 0;
      slice.query_count = end - begin;
      slice.kv_length -= rows - end;
      slices.push_back(slice);
    }
    for (std::size_t g = 0; g < pass.groups.size(); ++g) {
      GroupInput group = pass.groups[g];
      group.slots = group.slots.subspan(at, count);
      group.slices = std::span(slices).subspan(g, 1);
      groups.push_back(group);
    }
    for (const std::int32_t row : pass.logit_rows) {
      if (row >= begin && row < end) logit_rows.push_back(row - static_cast<std::int32_t>(begin));
    }
    input = {pass.ids.subspan(at, count), pass.positions.subspan(at, count), groups, logit_rows};
  }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  std::int64_t begin, end;
  std::vector<SequenceSlice> slices;
  std::vector<GroupInput> groups;
  std::vector<std::int32_t> logit_rows;
  PassInput input;
};

}  // namespace

TensorView Transformer::forward_by_layer(const PassInput& pass) {
  const auto rows = static_cast<std::int64_t>(pass.ids.size());
  const std::int64_t layers = part_.layers.end - part_.layers.begin;
  TensorView result;
  for (std::int64_t i = -1; i < layers; ++i) {
    if (weight_stream_ != nullptr && i >= 0) weight_stream_->before(i);
    for (std::int64_t begin = 0; begin < rows; begin += by_layer_chunk_) {
      const Chunk chunk(pass, begin, std::min(begin + by_layer_chunk_, rows));
      const PassInput part = stage_part_ ? stage_part_(chunk.input) : chunk.input;
      TensorView x;
      if (i < 0) {
        x = embed(part);
      } else {
        x = take(chunk.end - begin, card_.hidden, "x");
        hidden_states_->fetch(begin, x);
        const NormWeights& norm = weights_.layers[static_cast<std::size_t>(i)].attention_norm;
        layer(i, x, normed(x, norm, "attention norm"), part, false);
      }
      const bool last = i + 1 == layers;
      if (!last) {
        hidden_states_->store(begin, x);
        arena_.give_back(x);
        continue;
      }
      const TensorView logits = finish(x, part);
      if (logits.data == nullptr) continue;
      VRAMPLAN_CHECK(result.data == nullptr);  // only the end of a prompt has logits
      result = logits;
    }
    if (weight_stream_ != nullptr && i >= 0) weight_stream_->after(i);
  }
  return result;
}

}  // namespace vramplan
