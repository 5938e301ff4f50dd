#pragma once
// KvGroups: layers of a rank that keep the same tokens, and the most blocks such a group holds at
// one time: exact for the order of passes that planner/README.md fixes.
#include <vector>

#include "planner/weights.h"

namespace vramplan {

/// Layers of a group in one format.
struct KvFormatBytes {
  KvFormat format = KvFormat::kF16;
  std::int64_t layers = 0;
  BytesPerToken per_token;  // of all of them
};
struct KvGroupBytes {
  KvKeep keep;
  BytesPerToken per_token;  // K and V of one token in all layers of the group
  std::vector<KvFormatBytes> formats = {};
};
/// Groups of the rank's layers that have a cache: the one that keeps every token first, the others
/// by growing window; the history behind a residual window is a group of its own, after the first.
/// Errors: kUsage when the format does not suit a layer.
std::vector<KvGroupBytes> kv_group_bytes(const RankModel& model, const Decisions& decisions);

/// Most blocks at one time, all sequences together. Sequences are prefilled one after another in
/// chunks and decode together; between two passes a block is given back when no later query sees
/// any of its tokens (sinks stay). With p the first query of a pass, e the tokens that have a slot
/// after it, b tokens a block: held(p, e) = ceil(e / b) - max(0, floor(max(0, p - window + 1) / b)
/// - ceil(sinks / b)), with a budget ceil(e / b) - max(0, ceil(p / b) - ceil(budget / b)); the most
/// is max((batch - 1) held(after prefill) + most of the chunks, batch x most of the steps).
Blocks kept_blocks(const KvKeep& keep, const Decisions& decisions);

/// Tokens between the first kept one and the last of the pass, queries included, at most over the
/// passes [first, last] of a phase: what a kernel that materialises scores makes room for.
/// `queries`: of each pass; `kv_length`: of the last pass, without a window.
struct PassRange {
  std::int64_t queries = 1, first_kv = 0, last_kv = 0;
};
std::int64_t most_kept_length(const KvKeep& keep, TokensPerBlock block, const PassRange& passes);

/// The pools of every window of the card, whatever rank its layers are on.
std::vector<WindowPool> window_pools(const ModelCard& card, const Decisions& decisions);

}  // namespace vramplan
