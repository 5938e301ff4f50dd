#pragma once
// Account: the bytes of one rank with everything worked out that context and batch do not change,
// and its peak for any of the two. The ledger is the same account written out; a test holds them
// equal.
#include <optional>
#include <vector>

#include "planner/activations.h"
#include "planner/gpu_account.h"
#include "planner/plan.h"
#include "planner/runtime_overhead.h"
#include "planner/weights.h"

namespace vramplan {

/// The smaller model of speculative decoding, whole on the same device.
struct DraftAccount {
  RankModel model;
  Bytes weights, padding;
};

/// One rank of a pipeline stage; the ranks of a stage are alike.
struct StageAccount {
  RankModel model;
  Bytes weights, padding;      // on the device
  Bytes runtime;               // rows of the device that load leaves behind, without the two above
  BytesPerToken kv_per_token;  // of the layers that keep every token
  std::optional<DraftAccount> draft;
  std::optional<GpuAccount> gpu;  // a GPU whose kernels are ours; `runtime` has its gemm too
};
ScratchRules rules_of(const StageAccount& stage, const Decisions& decisions, DeviceKind kind);
std::vector<StageAccount> stage_accounts(const ModelSource& source, const DeviceCard& device,
                                         const Decisions& decisions, const TokenizerTables& tables);

/// Bytes of the rank's KV cache and state, and the most live on its device over all phases; of all
/// replicas.
Bytes kv_bytes(const StageAccount& stage, const Decisions& decisions);
Bytes stage_peak(const StageAccount& stage, const Decisions& decisions, DeviceKind kind);
/// The most live activations of any phase.
Bytes activation_peak(const StageAccount& stage, const Decisions& decisions, DeviceKind kind);
/// Device bytes of load that depend on context or batch: on a GPU indices, f32 vectors, graphs and
/// arena rounding, else none.
Bytes shaped_bytes(const StageAccount& stage, const Decisions& decisions, DeviceKind kind);
/// GPU: the one reservation before it is rounded to pages: every region at a multiple of 256 B,
/// activations with the gaps that first fit leaves.
Bytes reservation_bytes(const StageAccount& stage, const Decisions& decisions);
/// GPU: whole pages of it; of replicas one allocation of weights and f32 vectors, and one of the
/// rest for each.
Bytes reserved_pages(const StageAccount& stage, const Decisions& decisions);
/// GPU: what the reservation takes beyond the tensors' rows: gaps and the last page.
Bytes arena_rounding(const StageAccount& stage, const Decisions& decisions);
/// The fullest stage's peak.
Bytes largest_peak(const std::vector<StageAccount>& stages, const Decisions& decisions,
                   DeviceKind kind);

/// The same decisions for another context or batch: output is cut to leave a prompt, blocks and the
/// pools of windows follow.
Decisions with_context(Decisions decisions, Tokens context);
Decisions with_batch(Decisions decisions, std::int64_t batch);

}  // namespace vramplan
