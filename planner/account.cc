#include "planner/account.h"

#include <algorithm>

#include "planner/activations.h"
#include "planner/kv_cache.h"

namespace vramplan {

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
    account.kv_per_token = kv_growing_per_token(account.model, decisions);
    stages.push_back(std::move(account));
  }
  return stages;
}

Bytes kv_bytes(const StageAccount& stage, const Decisions& decisions) {
  return kv_bytes(stage.model, decisions);
}

Bytes stage_peak(const StageAccount& stage, const Decisions& decisions, DeviceKind kind) {
  const Bytes activations = std::max(prefill_peak(stage.model, decisions, kind),
                                     decode_peak(stage.model, decisions, kind));
  return stage.weights + stage.padding + stage.runtime + kv_bytes(stage, decisions) + activations;
}

Bytes largest_peak(const std::vector<StageAccount>& stages, const Decisions& decisions,
                   DeviceKind kind) {
  Bytes peak;
  for (const StageAccount& stage : stages)
    peak = std::max(peak, stage_peak(stage, decisions, kind));
  return peak;
}

Decisions with_context(Decisions decisions, Tokens context) {
  decisions.context = context;
  decisions.output = std::min(decisions.output, context - Tokens{1});
  decisions.kv_blocks = kv_blocks(decisions.batch, context, decisions.block);
  return decisions;
}

Decisions with_batch(Decisions decisions, std::int64_t batch) {
  decisions.batch = batch;
  decisions.kv_blocks = kv_blocks(batch, decisions.context, decisions.block);
  return decisions;
}

}  // namespace vramplan
