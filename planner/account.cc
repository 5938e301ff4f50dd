#include "planner/account.h"

#include <algorithm>

#include "planner/activations.h"
#include "planner/kv_cache.h"
#include "planner/kv_groups.h"
#include "planner/kv_mix.h"
#include "planner/replicas.h"
#include "planner/speculation.h"

namespace vramplan {
namespace {

Bytes draft_weights(const StageAccount& stage) {
  return stage.draft ? stage.draft->weights + stage.draft->padding : Bytes{};
}

}  // namespace

std::vector<StageAccount> stage_accounts(const ModelSource& source, const DeviceCard& device,
                                         const Decisions& decisions,
                                         const TokenizerTables& tables) {
  std::vector<StageAccount> stages;
  for (int stage = 0; stage < decisions.sharding.pp; ++stage) {
    const int rank = stage * decisions.sharding.tp;
    StageAccount account;
    account.model = rank_model(source.card, decisions, source.stored, rank);
    account.weights = weight_bytes(account.model);
    account.padding = arena_padding(account.model);
    for (const LedgerRow& row : runtime_rows(device, tables, rank, decisions.sharding.ranks())) {
      if (row.tier == TierKind::kDevice) account.runtime += row.bytes;
    }
    const bool gpu = device.kind == DeviceKind::kGpu;
    if (gpu) account.runtime = account.runtime * decisions.replicas;
    if (!gpu && decisions.replicas > 1) {
      account.runtime += replica_base(device) * decisions.replicas;
    }
    account.kv_per_token = kv_growing_per_token(account.model, decisions);
    if (decisions.speculation.guess == Guess::kDraft) {
      account.draft = draft_account(source, decisions);
      account.runtime += draft_weights(account);
    }
    if (gpu) {
      account.gpu = gpu_account(account.model, device, decisions);
      if (account.draft) add_draft(*account.gpu, account.draft->model, device, decisions);
    }
    stages.push_back(std::move(account));
  }
  return stages;
}

Bytes kv_bytes(const StageAccount& stage, const Decisions& decisions) {
  Bytes bytes = kv_bytes(stage.model, decisions);
  if (stage.draft) bytes += draft_kv_bytes(*stage.draft, decisions);
  return bytes * decisions.replicas;
}

ScratchRules rules_of(const StageAccount& stage, const Decisions& decisions, DeviceKind kind) {
  return scratch_rules(decisions, kind, stage.gpu ? stage.gpu->multiprocessors : 0);
}

Bytes activation_peak(const StageAccount& stage, const Decisions& decisions, DeviceKind kind) {
  const ScratchRules rules = rules_of(stage, decisions, kind);
  Bytes prefill = prefill_peak(stage.model, decisions, rules);
  Bytes decode = decode_peak(stage.model, decisions, rules);
  if (stage.draft) {
    prefill += draft_peak(*stage.draft, decisions, rules, Phase::kPrefill);
    decode += draft_peak(*stage.draft, decisions, rules, Phase::kDecode);
  }
  return std::max(prefill, decode) * decisions.replicas;
}

Bytes reservation_bytes(const StageAccount& stage, const Decisions& decisions) {
  const Bytes granule{256};
  const ScratchRules rules = rules_of(stage, decisions, DeviceKind::kGpu);
  const Bytes draft = stage.draft ? draft_reservation(*stage.draft, decisions, rules) : Bytes{};
  return stage.weights + stage.padding + kv_region_bytes(stage.model, decisions) +
         activation_extent(stage.model, decisions, rules) + round_up(stage.gpu->gemm, granule) +
         index_bytes(*stage.gpu, decisions) + stage.gpu->vectors + draft;
}

Bytes reserved_pages(const StageAccount& stage, const Decisions& decisions) {
  const Bytes all = reservation_bytes(stage, decisions);
  if (decisions.replicas == 1) return round_up(all, kGpuPage);
  const Bytes shared = stage.weights + stage.padding + stage.gpu->vectors;
  return round_up(shared, kGpuPage) + round_up(all - shared, kGpuPage) * decisions.replicas;
}

Bytes arena_rounding(const StageAccount& stage, const Decisions& decisions) {
  const Bytes each = stage.gpu->gemm + index_bytes(*stage.gpu, decisions);
  return reserved_pages(stage, decisions) - stage.weights - stage.padding - draft_weights(stage) -
         kv_bytes(stage, decisions) - activation_peak(stage, decisions, DeviceKind::kGpu) -
         each * decisions.replicas - stage.gpu->vectors;
}

Bytes shaped_bytes(const StageAccount& stage, const Decisions& decisions, DeviceKind kind) {
  if (!stage.gpu || kind != DeviceKind::kGpu) return {};
  const Bytes each = index_bytes(*stage.gpu, decisions) + graph_bytes(*stage.gpu, decisions);
  return each * decisions.replicas + stage.gpu->vectors + arena_rounding(stage, decisions);
}

Bytes stage_peak(const StageAccount& stage, const Decisions& decisions, DeviceKind kind) {
  if (stage.gpu && kind == DeviceKind::kGpu) {
    const Bytes each = graph_bytes(*stage.gpu, decisions) - stage.gpu->gemm;
    return stage.runtime - draft_weights(stage) + each * decisions.replicas +
           reserved_pages(stage, decisions);
  }
  return stage.weights + stage.padding + stage.runtime + kv_bytes(stage, decisions) +
         activation_peak(stage, decisions, kind);
}

Bytes largest_peak(const std::vector<StageAccount>& stages, const Decisions& decisions,
                   DeviceKind kind) {
  Bytes peak;
  for (const StageAccount& stage : stages)
    peak = std::max(peak, stage_peak(stage, decisions, kind));
  return peak;
}

namespace {

/// Pools follow context and batch.
void recount_pools(Decisions& decisions) {
  decisions.kv_blocks = kv_blocks(decisions);
  decisions.kv_residual.blocks = residual_blocks(decisions);
  if (mixes_windows(decisions)) decisions.kv_residual.history = history_blocks(decisions);
  for (WindowPool& pool : decisions.window_pools) {
    const KvKeep keep = keep_of(decisions, pool.window.n);
    pool.blocks = kept_blocks(keep, decisions);
  }
}

}  // namespace

Decisions with_context(Decisions decisions, Tokens context) {
  decisions.context = context;
  decisions.output = std::min(decisions.output, context - Tokens{1});
  if (decisions.kv_layout == KvLayout::kContiguous) decisions.block = {context.n};
  recount_pools(decisions);
  return decisions;
}

Decisions with_batch(Decisions decisions, std::int64_t batch) {
  decisions.batch = batch;
  recount_pools(decisions);
  return decisions;
}

}  // namespace vramplan
