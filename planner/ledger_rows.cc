#include "planner/ledger_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "planner/activation_offload.h"
#include "planner/activations.h"
#include "planner/kv_cache.h"
#include "planner/kv_offload.h"
#include "planner/kv_rows.h"
#include "planner/replicas.h"
#include "planner/speculation.h"
#include "planner/text.h"
#include "planner/weight_offload.h"

namespace vramplan {
namespace {

constexpr std::size_t kMostKindsSpelledOut = 4;

/// "attn_q.weight" -> "q", "ffn_down.bias" -> "down bias"
std::string short_name(const std::string& name) {
  std::string text = name;
  for (const char* prefix : {"attn_", "ffn_"}) {
    if (text.rfind(prefix, 0) == 0) text.erase(0, std::char_traits<char>::length(prefix));
  }
  const std::size_t dot = text.rfind('.');
  if (dot == std::string::npos) return text;
  return text.substr(dot) == ".weight" ? text.substr(0, dot) : text.replace(dot, 1, " ");
}

/// "q 8192 x 8192 + k 1024 x 8192 + v 1024 x 8192, bf16"; a format stands after the last tensor
/// that has it.
std::string tensors_text(const std::vector<WeightTensor>& tensors, const GroupBytes& group) {
  std::string text;
  const WeightTensor* last = nullptr;
  for (const WeightTensor& tensor : tensors) {
    if (tensor.group != group.group || (group.dtype && tensor.dtype != group.dtype)) continue;
    if (last)
      text += last->dtype == tensor.dtype ? " + " : fmt::format(" {} + ", info(last->dtype).name);
    text += fmt::format("{} {} x {}", short_name(tensor.name), tensor.rows, tensor.columns);
    last = &tensor;
  }
  if (last) text += fmt::format(" {}", info(last->dtype).name);
  return text;
}

std::string weight_formula(const RankModel& model, const GroupBytes& group, bool from_file) {
  std::string text = tensors_text(model.outside, group);
  const auto add = [&](const std::string& term) {
    if (!text.empty()) text += " + ";
    text += term;
  };
  if (model.kinds.size() > kMostKindsSpelledOut && text.empty()) {
    add(fmt::format("{} tensors in {} kinds of layer", group.tensors, model.kinds.size()));
  } else {
    for (const LayerKind& kind : model.kinds) {
      const std::string inside = tensors_text(kind.tensors, group);
      const std::int64_t here = kind.count - kind.streamed;
      if (inside.empty()) continue;
      if (kind.streamed == 0)
        add(fmt::format("{} layers x ({})", kind.count, inside));
      else
        add(fmt::format("{} of {} layers x the matrices of ({})", here, kind.count, inside));
    }
  }
  if (from_file) text += "; formats as the file's tensor table has them";
  return text;
}

/// "at feed-forward: x 4,096 B + gate 12,288 B + ... ; T = 512, cache 8,064"
std::string moment_formula(const Moment& moment, const PassShape& pass) {
  std::string text = fmt::format(
      "at {}, {} tokens of {} sequence{} over a cache of {}: ", moment.where, pass.tokens,
      pass.sequences, pass.sequences == 1 ? "" : "s", grouped(pass.kv_length));
  bool first = true;
  for (const LiveTensor& tensor : moment.tensors) {
    text += fmt::format("{}{} {}", first ? "" : " + ", tensor.name, exact(tensor.bytes));
    first = false;
  }
  return text;
}

/// Matrices of the layers that come in for their turn.
LedgerRow streamed_row(const RankModel& model) {
  LedgerRow row;
  row.tier = TierKind::kHost;
  row.category = Category::kWeights;
  row.name = "streamed layers";
  row.bytes = streamed_bytes(model);
  for (const LayerKind& kind : model.kinds) {
    if (kind.streamed == 0) continue;
    row.formula += fmt::format("{}{} of {} layers x {} of matrices, each rounded up to 256 B",
                               row.formula.empty() ? "" : " + ", kind.streamed, kind.count,
                               exact(streamed_layer_bytes(kind)));
  }
  return row;
}

LedgerRow activation_row(const RankModel& model, const Decisions& decisions,
                         const ScratchRules& rules, Phase phase) {
  const std::vector<PassShape> passes =
      phase == Phase::kPrefill ? prefill_passes(decisions, model.shape.head)
                               : decode_passes(decisions, model.shape.head, rules.kind);
  LedgerRow row;
  row.category = Category::kActivations;
  row.name = "peak";
  row.phase = phase;
  for (const PassShape& pass : passes) {
    const Moment moment = peak_moment(model, rules, pass);
    if (moment.live < row.bytes) continue;
    row.bytes = moment.live;
    row.formula = moment_formula(moment, pass);
  }
  return row;
}

LedgerRow hidden_state_row(const RankModel& model, const Decisions& decisions) {
  LedgerRow row;
  row.tier = TierKind::kHost;
  row.category = Category::kActivations;
  row.name = "hidden states";
  row.phase = Phase::kPrefill;
  row.bytes = hidden_state_bytes(model.hidden, decisions);
  row.formula = fmt::format("{} tokens of a prompt x {} in {}, between the layers of prefill",
                            grouped((decisions.context - decisions.output).n),
                            grouped(model.hidden), info(decisions.activations).name);
  return row;
}

void add_gpu_rows(const StageAccount& stage, const Decisions& decisions,
                  std::vector<LedgerRow>& rows) {
  const GpuAccount& gpu = *stage.gpu;
  const auto add = [&](TierKind tier, Category category, const char* name, Bytes bytes,
                       std::string formula) {
    if (bytes.n == 0) return;
    rows.push_back({0, tier, category, name, Phase::kLoad, bytes, std::move(formula)});
  };
  const Bytes arrays = pass_array_bytes(gpu, decisions);
  add(TierKind::kDevice, Category::kWorkspace, "indices", index_bytes(gpu, decisions),
      fmt::format("ids, positions, slots, rows and draws of the longest pass, block tables of {} "
                  "sequence{} x ceil({} / {}): {} + rotary tables {}",
                  decisions.batch, decisions.batch == 1 ? "" : "s",
                  grouped(decisions.sharding.share(decisions.context.n)), decisions.block.n,
                  exact(arrays), exact(gpu.rope)));
  add(TierKind::kDevice, Category::kWorkspace, "f32 vectors", gpu.vectors,
      "f32 copies of 16-bit norms and biases, each rounded up to 256 B");
  const Bytes reserved = reserved_pages(stage, decisions);
  add(TierKind::kDevice, Category::kRuntime, "arena rounding", arena_rounding(stage, decisions),
      fmt::format("{} of {} in pages of {}, less the tensors in {}",
                  decisions.replicas == 1 ? "one reservation" : "reservations", exact(reserved),
                  exact(kGpuPage), decisions.replicas == 1 ? "it" : "them"));
  add(TierKind::kDevice, Category::kGraphs, "decode", graph_bytes(gpu, decisions),
      fmt::format(
          "{} operations of a decode step x {} (graph_node_bytes of the device card), in pages "
          "of {}",
          gpu.decode_calls, exact(gpu.graph_node), exact(kGpuPage)));
  if (decisions.kv_placement == KvPlacement::kDisk) {
    add(TierKind::kHost, Category::kKvCache, "staging", kv_pinned_bytes(stage.model, decisions),
        fmt::format("pinned: as much as on the device, between it and the disk, + {} to align it",
                    exact(kPinnedAlignment)));
  }
  add(TierKind::kHost, Category::kWorkspace, "staging", staging_bytes(gpu, decisions),
      fmt::format("pinned: {} copies of a pass's arrays + {} for weights", kStagedPasses,
                  exact(kUploadBytes)));
}

std::vector<LedgerRow> stage_rows(const StageAccount& stage, const Decisions& decisions,
                                  const DeviceCard& device, const TokenizerTables& tables,
                                  bool from_file) {
  std::vector<LedgerRow> rows;
  for (const GroupBytes& group : weight_groups(stage.model)) {
    LedgerRow row;
    row.category = Category::kWeights;
    row.name = group.row();
    row.bytes = group.bytes;
    row.formula = row.name == "staging" ? fmt::format("{} layers at a time x {}", group.tensors,
                                                      exact({group.bytes.n / group.tensors}))
                                        : weight_formula(stage.model, group, from_file);
    rows.push_back(std::move(row));
  }
  if (stage.model.weight_staging > 0) rows.push_back(streamed_row(stage.model));
  for (LedgerRow& row : kv_rows(stage.model, decisions)) rows.push_back(std::move(row));
  const ScratchRules rules = rules_of(stage, decisions, device.kind);
  rows.push_back(activation_row(stage.model, decisions, rules, Phase::kPrefill));
  if (!decode_passes(decisions, stage.model.shape.head).empty()) {
    rows.push_back(activation_row(stage.model, decisions, rules, Phase::kDecode));
  }
  if (decisions.activation_offload) rows.push_back(hidden_state_row(stage.model, decisions));
  LedgerRow padding;
  padding.category = Category::kRuntime;
  padding.name = "arena padding";
  padding.bytes = stage.padding;
  padding.formula = "each weight tensor rounded up to 256 B";
  rows.push_back(std::move(padding));
  for (LedgerRow& row : runtime_rows(device, tables, 0, decisions.sharding.ranks())) {
    rows.push_back(std::move(row));
  }
  if (stage.gpu) add_gpu_rows(stage, decisions, rows);
  if (stage.draft) {
    for (LedgerRow& row : draft_rows(*stage.draft, decisions, rules))
      rows.push_back(std::move(row));
  }
  add_up_replicas(rows, device, decisions.replicas);
  return rows;
}

}  // namespace

Ledger predicted_ledger(const std::vector<StageAccount>& stages, const Decisions& decisions,
                        const DeviceCard& device, const TokenizerTables& tables, bool from_file) {
  Ledger ledger;
  for (const StageAccount& stage : stages) {
    const std::vector<LedgerRow> rows = stage_rows(stage, decisions, device, tables, from_file);
    for (int t = 0; t < decisions.sharding.stage_ranks(); ++t) {
      for (LedgerRow row : rows) {
        row.rank = stage.model.shape.rank + t;
        ledger.add(std::move(row));
      }
    }
  }
  return ledger;
}

}  // namespace vramplan
