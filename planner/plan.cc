#include "planner/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "planner/advice.h"
#include "planner/capacity.h"
#include "planner/choices.h"
#include "planner/kv_cache.h"
#include "planner/latency.h"
#include "planner/ledger_rows.h"
#include "planner/memory_curve.h"
#include "planner/offload_worth.h"
#include "planner/preempt_choice.h"
#include "planner/speculation.h"
#include "planner/text.h"
#include "planner/weight_mix.h"
#include "planner/weight_names.h"

namespace vramplan {
namespace {

Totals whole_model(const ModelSource& source, const Decisions& decisions,
                   const std::vector<StageAccount>& stages) {
  Totals totals;
  const ParameterCount count = count_parameters(source.card);
  totals.parameters = count.total;
  totals.active_parameters = count.active;
  if (decisions.sharding.ranks() == 1 && decisions.weight_offload == WeightOffload{}) {
    totals.weight_bytes = stages.front().weights;
    totals.kv_bytes = kv_bytes(stages.front(), all_on_device(decisions));
  } else {
    Decisions one = all_on_device(decisions);
    one.sharding = {};
    const RankModel whole = rank_model(source.card, one, source.stored, 0);
    totals.weight_bytes = weight_bytes(whole);
    totals.kv_bytes = kv_bytes(whole, one);
  }
  const BytesPerToken kept = kv_bytes_per_token(source.card, decisions);
  totals.kv_bytes_per_token = {ceil_div(kept.n, decisions.kv_residual.stride)};
  return totals;
}

std::vector<DevicePrediction> predict_devices(const Ledger& ledger, const Decisions& decisions) {
  std::vector<DevicePrediction> devices;
  for (int rank = 0; rank < decisions.sharding.ranks(); ++rank) {
    // The ranks of a stage are alike; summing one of them is enough.
    if (rank % decisions.sharding.stage_ranks() != 0) {
      devices.push_back(devices.back());
      devices.back().rank = rank;
      continue;
    }
    const Bytes peak = ledger.peak(rank, TierKind::kDevice);
    devices.push_back({rank, decisions.capacity, peak, decisions.capacity - peak});
  }
  return devices;
}

struct Share {
  const char* words;
  Bytes bytes;
};

/// The largest part of a rank's account.
Share largest_share(const Ledger& ledger, int rank) {
  const auto sum = [&](Category category) { return ledger.sum(rank, TierKind::kDevice, category); };
  Bytes activations;
  for (const LedgerRow& row : ledger.rows()) {
    const bool mine = row.rank == rank && row.category == Category::kActivations;
    if (mine) activations = std::max(activations, row.bytes);
  }
  const Share shares[] = {{"the weights", sum(Category::kWeights)},
                          {"the KV cache", sum(Category::kKvCache)},
                          {"activations", activations},
                          {"the runtime", sum(Category::kRuntime)}};
  return *std::max_element(std::begin(shares), std::end(shares),
                           [](const Share& a, const Share& b) { return a.bytes < b.bytes; });
}

std::string binding_constraint(const Ledger& ledger, const DevicePrediction& fullest,
                               const std::string& device) {
  const Share share = largest_share(ledger, fullest.rank);
  const std::string largest =
      fmt::format("the largest part is {}: {}", share.words, to_text(share.bytes));
  if (fullest.headroom.n < 0) {
    return fmt::format("rank {} needs {}, {} ({}) more than the {} of {}; {}", fullest.rank,
                       to_text(fullest.predicted), to_text(-fullest.headroom),
                       exact(-fullest.headroom), to_text(fullest.capacity), device, largest);
  }
  return fmt::format("rank {} needs {} of the {} of {} and leaves {}; {}", fullest.rank,
                     to_text(fullest.predicted), to_text(fullest.capacity), device,
                     to_text(fullest.headroom), largest);
}

std::vector<RankModel> models_of(const std::vector<StageAccount>& stages) {
  std::vector<RankModel> models;
  for (const StageAccount& stage : stages) models.push_back(stage.model);
  return models;
}

void assume_window_saving(const std::vector<StageAccount>& stages, Plan& plan) {
  Bytes saving;
  for (const StageAccount& stage : stages) {
    saving = std::max(saving, window_saving(stage.model, plan.decisions));
  }
  if (saving.n == 0) return;
  const std::string would =
      fmt::format("keeping the window alone would save {} a rank", to_text(saving));
  for (Assumption& assumption : plan.assumptions) {
    if (assumption.what != "sliding-window layers") continue;
    assumption.value += "; " + would;
    return;
  }
  plan.assumptions.push_back({"sliding-window layers", would, "--kv-policy"});
}

/// A checkpoint whose tensors have no place of their own here (packed weights beside their scales,
/// zeros and tables) is counted by formula; its headers say what it truly holds.
void assume_headers(const ModelSource& given, Plan& plan) {
  Bytes held;
  for (const StoredTensor& tensor : given.stored) {
    if (tensor.name.find("rotary_emb.inv_freq") == std::string::npos) held += tensor.bytes;
  }
  const Bytes more = plan.predictions.totals.weight_bytes - held;
  const std::string sum = fmt::format("{} tensors of {}", given.stored.size(), exact(held));
  plan.assumptions.push_back(
      {"weights of the checkpoint",
       more.n == 0
           ? fmt::format("by formula, the same bytes as its headers: {}", sum)
           : fmt::format("by formula, {} {} than its headers: {}", exact(more.n < 0 ? -more : more),
                         more.n < 0 ? "less" : "more", sum),
       "--weights"});
}

/// Against the same plan without guesses.
SpeculationPrediction weigh_guesses(const std::vector<StageAccount>& stages, Decisions decisions,
                                    const DeviceCard& device, const Predictions& p) {
  SpeculationPrediction out;
  out.tokens_a_step = expected_tokens(most_guesses(decisions), decisions.speculation.acceptance);
  out.step = {p.performance.tpot.v * out.tokens_a_step};
  decisions.speculation = {};
  out.plain_tpot = predict_performance(models_of(stages), decisions, device).tpot;
  if (p.performance.tpot.v > 0) out.speedup = out.plain_tpot.v / p.performance.tpot.v;
  return out;
}

}  // namespace

Plan make_plan(const ModelSource& given, const DeviceCard& device, const PlanRequest& request) {
  ModelSource source = given;
  source.stored = stored_by_gguf_name(given);
  Choices choices = make_choices(source, device, request);
  Plan plan;
  plan.decisions = std::move(choices.decisions);
  plan.assumptions = std::move(choices.assumptions);
  Predictions& p = plan.predictions;
  const TokenizerTables tables = tokenizer_tables(source);
  const std::vector<StageAccount> stages = stage_accounts(source, device, plan.decisions, tables);
  choose_preemption(stages, models_of(stages), device, request, plan);
  const Decisions& decisions = plan.decisions;

  const bool from_file = !source.stored.empty() && weight_formats(decisions).empty();
  p.totals = whole_model(source, decisions, stages);
  p.ledger = predicted_ledger(stages, decisions, device, tables, from_file);
  p.devices = predict_devices(p.ledger, decisions);
  const DevicePrediction& fullest =
      *std::min_element(p.devices.begin(), p.devices.end(),
                        [](const auto& a, const auto& b) { return a.headroom < b.headroom; });
  p.fits = fullest.headroom.n >= 0;
  p.missing = p.fits ? Bytes{} : -fullest.headroom;
  p.binding_constraint = binding_constraint(p.ledger, fullest, device.name);
  p.capacity = find_capacity(stages, decisions, device.kind, p.totals);
  Decisions timed = decisions;
  if (p.preemption) {  // the batch of a mean step
    timed.batch = std::max<std::int64_t>(1, std::llround(p.preemption->mean_running));
  }
  const std::optional<DraftAccount>& draft = stages.front().draft;
  p.performance = predict_performance(models_of(stages), timed, device, draft ? &*draft : nullptr);
  if (decisions.speculation.any()) p.speculation = weigh_guesses(stages, timed, device, p);
  if (decisions.kv_placement != KvPlacement::kDevice || decisions.weight_offload.layers > 0) {
    p.offload = weigh_offload(source, device, timed, p.performance);
  }
  p.curve = memory_curve(stages.front(), decisions, device, p.performance);
  p.advice = advise(source, device, decisions, tables, stages, p.capacity);
  assume_window_saving(stages, plan);
  const bool unplaced = given.kind == SourceKind::kFolder && source.stored.empty();
  if (unplaced && !given.stored.empty() && !decisions.weights) assume_headers(given, plan);
  return plan;
}

}  // namespace vramplan
