#include "planner/decisions.h"

#include <algorithm>
#include <bit>

#include "planner/kv_mix.h"

namespace vramplan {

const char* name_of(KvPolicy policy) {
  static constexpr const char* kNames[kKvPolicies] = {"keep_all", "window", "sink_window",
                                                      "strided", "mass"};
  return kNames[static_cast<int>(policy)];
}

const char* name_of(KvScore score) { return score == KvScore::kDecayed ? "decayed" : "sum"; }

const char* name_of(KvLayout layout) {
  return layout == KvLayout::kContiguous ? "contiguous" : "paged";
}

Decisions draft_decisions(const Decisions& decisions) {
  Decisions draft = decisions;
  draft.model = decisions.speculation.draft;
  draft.card_hash = decisions.speculation.draft_hash;
  draft.set.clear();
  draft.assume_like.clear();
  draft.weights.reset();
  draft.weight_layers.clear();
  draft.kv_format = KvFormat::kF16;
  draft.kv_full_heads = {};
  draft.kv_layers.clear();
  draft.kv_policy = KvPolicy::kKeepAll;
  draft.window_pools.clear();
  draft.kv_blocks = blocks_for(draft.context, draft.block) * draft.batch;
  draft.speculation = {};
  return draft;
}

const char* name_of(Guess guess) {
  static constexpr const char* kNames[kGuesses] = {"none", "ngram", "draft"};
  return kNames[static_cast<int>(guess)];
}

const char* name_of(Preempt preempt) {
  static constexpr const char* kNames[kPreempts] = {"none", "swap", "recompute"};
  return kNames[static_cast<int>(preempt)];
}

const char* name_of(KvPlacement placement) {
  static constexpr const char* kNames[kKvPlacements] = {"device", "host", "disk"};
  return kNames[static_cast<int>(placement)];
}

namespace {

/// `far` of `layers`, spread evenly.
bool is_spread(std::int64_t far, std::int64_t layer, std::int64_t layers) {
  return (layer + 1) * far / layers > layer * far / layers;
}

}  // namespace

bool is_offloaded(const Decisions& decisions, std::int64_t layer, std::int64_t layers) {
  if (decisions.kv_placement == KvPlacement::kDevice) return false;
  const std::int64_t far = std::max<std::int64_t>(0, layers - decisions.kv_offload.resident);
  return is_spread(far, layer, layers);
}

bool is_streamed(const Decisions& decisions, std::int64_t layer, std::int64_t layers) {
  return is_spread(std::min(decisions.weight_offload.layers, layers), layer, layers);
}

std::int64_t next_streamed(std::int64_t k, std::int64_t count, std::int64_t staging) {
  return k + staging < count ? k + staging : k % staging;
}

Bytes far_part_bytes(KvPlacement placement, Bytes part) {
  constexpr Bytes kHeader{64}, kUnit{4096};
  return placement == KvPlacement::kDisk ? round_up(part + kHeader, kUnit) : part;
}

const char* name_of(AttentionAlgorithm algorithm) {
  return algorithm == AttentionAlgorithm::kNaive ? "naive" : "tiled";
}

KvKeep keep_of(KvPolicy policy, const KvKeep& asked, std::int64_t window_tokens) {
  if (policy == KvPolicy::kSinkWindow || policy == KvPolicy::kMass) return asked;
  const bool all = policy != KvPolicy::kWindow || window_tokens <= 0;
  return {{}, Tokens{all ? 0 : window_tokens}};
}

KvKeep keep_of(const Decisions& decisions, std::int64_t window_tokens) {
  return keep_of(decisions.kv_policy, decisions.kv_keep, window_tokens);
}

KvKeep keep_of(const Decisions& decisions, std::int64_t window_tokens, KvFormat format) {
  KvKeep keep = keep_of(decisions, window_tokens);
  keep.history = has_window(decisions, format);
  return keep;
}

Tokens packed_tokens(Tokens cached, Tokens window) {
  if (cached <= window) return {};
  return kResidualBlock * blocks_for(cached - window, kResidualBlock);
}

Blocks pool_blocks(const Decisions& decisions, const KvKeep& keep) {
  if (keep.recent) return decisions.kv_residual.blocks;
  if (keep.history && mixes_windows(decisions)) return decisions.kv_residual.history;
  if (keep.all()) return decisions.kv_blocks;
  for (const WindowPool& pool : decisions.window_pools) {
    if (pool.window == keep.window) return pool.blocks;
  }
  throw Error(ErrorCode::kStalePlan, "the plan has no pool for layers that keep " +
                                         std::to_string(keep.window.n) + " tokens")
      .at("", "window_pools")
      .help("plan again");
}

Blocks table_blocks(const Decisions& decisions, const KvKeep& keep) {
  if (keep.recent) return blocks_for(keep.window, kResidualBlock);
  const Tokens held{decisions.sharding.share(decisions.context.n)};
  const Blocks whole = blocks_for(held, decisions.block);
  if (keep.all()) return whole;
  const Tokens chunk = std::min(decisions.prefill_chunk, decisions.context - decisions.output);
  if (keep.budget.n > 0) {
    return std::min(whole, blocks_for(keep.budget, decisions.block) +
                               blocks_for(chunk, decisions.block) + Blocks{1});
  }
  return std::min(whole, blocks_for(keep.sinks, decisions.block) +
                             blocks_for(keep.window + chunk, decisions.block) + Blocks{1});
}

bool captures_steps(const Decisions& decisions) {
  // With three full steps each kind of pass comes twice, whatever the model agrees with.
  const GuessDecision& guesses = decisions.speculation;
  if (guesses.any() && decisions.output.n - 1 < 3 * (guesses.tokens + 1)) return false;
  return decisions.attention != AttentionAlgorithm::kNaive &&
         decisions.kv_placement == KvPlacement::kDevice && decisions.weight_offload.layers == 0;
}

std::int64_t captured_rows(std::int64_t rows, std::int64_t most) {
  const auto power = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(rows)));
  return std::min(power, std::max(rows, most));
}

LayerRange layers_of_stage(std::int64_t layer_count, int pp, int stage) {
  VRAMPLAN_CHECK(pp >= 1 && stage >= 0 && stage < pp);
  const std::int64_t base = layer_count / pp;
  const std::int64_t longer = layer_count % pp;  // the first `longer` stages hold one layer more
  const std::int64_t begin = stage * base + (stage < longer ? stage : longer);
  return {begin, begin + base + (stage < longer ? 1 : 0)};
}

}  // namespace vramplan
