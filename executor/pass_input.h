#pragma once
// PassInput: the tokens of one forward pass; it owns nothing.
#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace vramplan {

/// Where a pass reads and writes the cache of one group of layers. Positions in a slice count the
/// tokens that are kept: kv_length is the place of the last query in them, plus one.
struct GroupInput {
  std::span<const std::int64_t> slots;  // [T] where K and V go, < 0 = nowhere
  /// Query rows of each sequence, in order. Of a history behind a residual window query_count is
  /// how many of its tokens come with this pass.
  std::span<const SequenceSlice> slices;
  /// [T] of a group with sinks, else empty: the places of queries among the tokens they see.
  std::span<const std::int32_t> sink_positions;
  /// Of a residual window: blocks that leave it for the history before this pass's tokens come.
  std::span<const KvPack> packs = {};
};

/// The tokens of one forward pass; T rows. The spans live until the pass is synchronised.
struct PassInput {
  std::span<const std::int32_t> ids;         // [T]
  std::span<const std::int32_t> positions;   // [T]
  std::span<const GroupInput> groups;        // as KvStore::groups
  std::span<const std::int32_t> logit_rows;  // [R] rows whose logits are wanted
  bool decode = false;                       // a step: one query a sequence and its logits
  /// Of a step with guesses on a GPU: it is laid out for so many queries of each sequence.
  std::int64_t step_queries = 1;
};

}  // namespace vramplan
