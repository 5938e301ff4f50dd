// SGLang: mem_fraction_static covers weights and KV pool; what lies outside is for activations and
// graphs. Without a value the engine leaves a reserve that follows chunk, ranks and graph sizes.
#include <algorithm>
#include <cmath>

#include "planner/engines/twin.h"

namespace vramplan {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

Bytes rounded(double bytes) { return {std::llround(bytes)}; }

/// 512 + 1.5 chunk + 1024 ranks / 8 + 2 graph batch, in MiB; at least a floor on large devices.
/// With attention groups 3 (4.5 above 300) more a graph batch and group. A draft model adds 6 GiB,
/// heads 2 GiB. Source: SGLang srt/server_args.py, _handle_gpu_memory_settings.
double reserve(const TwinInput& in) {
  const EngineTable& t = in.table;
  const double groups = in.model.groups;
  const double chunk = static_cast<double>(in.settings.max_num_batched_tokens.n) * groups;
  const double ranks = static_cast<double>(in.decisions.sharding.ranks());
  const double graph_batch =
      std::min<double>(static_cast<double>(in.settings.max_num_seqs), t.number("graph_batch"));
  double mib = t.number("reserve_base_mib") + t.number("reserve_chunk_mib") * chunk +
               t.number("reserve_rank_mib") * ranks / 8 +
               t.number("reserve_graph_mib") * graph_batch;
  if (groups > 1) {
    mib += graph_batch * groups * t.number("reserve_group_mib");
    if (graph_batch > 300) mib += graph_batch * groups * t.number("reserve_group_large_mib");
  }
  const std::string& method = in.settings.speculation.method;
  const double draft = method == "none" || method == "ngram"
                           ? 0
                           : t.number(method == "draft" ? "reserve_draft_mib" : "reserve_head_mib");
  const bool large =
      static_cast<double>(in.decisions.capacity.n) > t.number("large_device_mib") * kMiB;
  return (std::max(mib, large ? t.number("reserve_floor_mib") : 0.0) + draft) * kMiB;
}

}  // namespace

EngineForecast sglang_rank(const TwinInput& in) {
  const EngineTable& t = in.table;
  EngineForecast out;
  const double capacity = static_cast<double>(in.decisions.capacity.n);
  const int ranks = in.decisions.sharding.ranks();
  const double communicator = ranks >= 4   ? t.number("comm_4_mib")
                              : ranks >= 2 ? t.number("comm_2_mib")
                                           : 0.0;
  out.non_torch = rounded((t.number("context_mib") + communicator) * kMiB);
  out.weights = in.model.weights;
  double fraction = in.settings.memory_fraction;
  if (fraction <= 0) fraction = std::max(0.1, (capacity - reserve(in)) / capacity);
  // rest = free after load - free before load x (1 - fraction)
  const double before = capacity - static_cast<double>((out.non_torch + in.settings.beside).n);
  out.available = rounded(before * fraction);
  out.kv = std::max(Bytes{0}, in.settings.kv_cache_memory.value_or(out.available - out.weights));
  out.activations = rounded(std::max(
      t.number("activation_least_mib") * kMiB,
      2.0 * static_cast<double>(in.settings.max_num_batched_tokens.n) *
          static_cast<double>(in.model.heads * in.model.head_dim * in.model.attention_tp) *
          t.number(in.model.experts_per_token > 0 ? "activation_experts" : "activation_dense")));
  const double captured = in.settings.eager ? 0 : 1;
  out.graphs = rounded(
      captured * t.number("reserve_graph_mib") * kMiB *
      std::min<double>(static_cast<double>(in.settings.max_num_seqs), t.number("graph_batch")));
  const BytesPerToken per_token = in.model.kv_bytes_per_token();
  if (in.settings.kv_tokens)
    out.kv = std::min(
        out.kv, per_token * Tokens{ceil_div(in.settings.kv_tokens->n, in.model.context_ranks)});
  if (per_token.n > 0) {
    out.kv_tokens = {floor_div(out.kv.n, per_token.n) * in.model.context_ranks};
    out.max_concurrency =
        static_cast<double>(out.kv_tokens.n) / static_cast<double>(in.settings.max_model_len.n);
  }
  out.total = out.weights + out.kv + out.non_torch + out.activations + out.graphs;
  out.boots = out.max_concurrency >= 1.0 && out.total + in.settings.beside <= in.decisions.capacity;
  return out;
}

}  // namespace vramplan
