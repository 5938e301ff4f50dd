#pragma once
// ContextParallel: ranks that hold the same weights and share the tokens of every sequence, and
// what they exchange. Prefill: each rank computes its part of a chunk (cut so that all have as many
// pairs of the causal triangle), and the K and V of all go round a ring. Decode: every rank
// computes every sequence's token over the part of the cache it holds; results and their sums of
// exponents are gathered and merged. Planned, not run. Source: Context Parallelism for Scalable
// Million-Token Inference, arXiv:2411.01783; Ring Attention, arXiv:2310.01889.
#include "planner/activations.h"
#include "planner/forward_work.h"
#include "planner/plan.h"

namespace vramplan {

/// What a rank holds for the exchange of a layer, beside its own. Prefill: K and V of another rank
/// and of the one after it, 2 x kv_length x bytes a token; decode: the results of all, cp x tokens
/// x heads x (width + 2) x 4 B. `pass` is one rank's. None with one rank.
Bytes exchange_bytes(const ScratchRules& rules, const PassShape& pass, const LayerKind& kind);

/// cp groups of tp ranks.
struct ContextRanks {
  int cp = 1, tp = 1;
  /// Attention of one slice of one layer on one rank, over `repeat` passes. Prefill: pairs of all
  /// ranks / cp, over all K and V; decode: ceil(kv_length / cp) tokens.
  OpWork attention(const AttentionShape& shape, const PassWork& pass, std::int64_t repeat) const;
  /// What one rank of a layer sends and receives, over `repeat` passes. Prefill: (cp - 1) x its
  /// part of the cache; decode: an all-gather of results.
  OpWork exchange(const LayerKind& kind, KvFormat format, const PassWork& pass,
                  std::int64_t repeat) const;
};

/// Errors: kUnsupported naming what does not go with context parallel ranks: windows, states,
/// shared blocks, preemption, a residual window, anything beyond the device, naive attention.
void check_context_parallel(const ModelCard& card, const Decisions& decisions,
                            const PlanRequest& request);

}  // namespace vramplan
