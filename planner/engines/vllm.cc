// vLLM: KV = capacity x utilisation - weights - activation peak - non-torch. The activation peak is
// the larger of the sampler's profiling run over max_num_seqs rows of the vocabulary and a forward
// pass over max_num_batched_tokens, with the workspace of fused experts beside it. CUDA graphs are
// captured after the pool is taken and lie on top of it.
#include <algorithm>
#include <cmath>

#include "planner/engines/twin.h"
#include "planner/intervals.h"

namespace vramplan {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

Bytes rounded(double bytes) { return {std::llround(bytes)}; }

bool limited(const KvLayers& layers) { return layers.window > 0; }

/// Pages one sequence of `length` tokens needs in a layer.
std::int64_t pages_of(const KvLayers& layers, TokensPerBlock block, Tokens length, Tokens chunk) {
  if (!limited(layers)) return ceil_div(length.n, block.n);
  if (layers.kind == MixerKind::kChunked) {
    return ceil_div(std::min(layers.window + chunk.n, length.n), block.n);
  }
  return ceil_div(std::min(layers.window - 1 + chunk.n, length.n), block.n) + 1;
}

/// T x dtype x (3 intermediate + 3 hidden): gate and up fused, their product, and the residual
/// stream. No smaller than the attention's q, k, v and output beside it.
double forward_peak(const TwinInput& in) {
  const EngineModel& m = in.model;
  const double tokens = static_cast<double>(in.settings.max_num_batched_tokens.n);
  const double widths =
      3.0 * static_cast<double>(m.intermediate) + 3.0 * static_cast<double>(m.hidden);
  return tokens * static_cast<double>(in.settings.formats.dtype_bytes) * widths;
}

/// rows x vocab x (dtype + c): logits in the model's format, then f32 copies for temperature,
/// softmax and sampling; hidden states of the whole batch stay alive meanwhile.
double sampler_peak(const TwinInput& in) {
  const EngineModel& m = in.model;
  const double dtype = static_cast<double>(in.settings.formats.dtype_bytes);
  const double rows = static_cast<double>(
      std::min<std::int64_t>(in.settings.max_num_seqs, in.settings.max_num_batched_tokens.n));
  // Drafts are verified beside them: two rows a sequence and a copy of the bonus row. Source: vLLM
  // v1/worker/gpu_model_runner.py, the rejection sampler's part of _dummy_sampler_run.
  const double copies = in.settings.speculation.method == "none" ? 1 : 4;
  const double logits = rows * static_cast<double>(m.vocab) *
                        (copies * dtype + in.table.number("sampler_bytes_per_logit"));
  const double hidden = static_cast<double>(in.settings.max_num_batched_tokens.n) *
                        static_cast<double>(m.hidden) * dtype;
  return logits + in.table.number("hidden_states_kept") * hidden;
}

/// tokens (of all attention groups, as many as the kernel takes at once) x experts a token x (max(2
/// I, H) + I): the two buffers fused experts write between their products. The mxfp4 path keeps
/// none.
double expert_workspace(const TwinInput& in) {
  const EngineModel& m = in.model;
  if (m.experts_per_token == 0 || in.settings.formats.quantization == Quantization::kMxfp4) {
    return 0;
  }
  const double tokens =
      std::min(static_cast<double>(in.settings.max_num_batched_tokens.n) * m.groups,
               in.table.number("fused_experts_tokens"));
  const double routed = tokens * static_cast<double>(m.experts_per_token);
  const double width =
      static_cast<double>(std::max(2 * m.expert_intermediate, m.hidden) + m.expert_intermediate);
  return in.table.number("expert_workspace") * routed * width *
         static_cast<double>(in.settings.formats.dtype_bytes);
}

double activation_peak(const TwinInput& in) {
  double peak = forward_peak(in);
  if (in.model.head) peak = std::max(peak, sampler_peak(in));
  if (in.decisions.sharding.pp > 1) {  // hidden states and residual handed between stages
    peak += 2.0 * static_cast<double>(in.settings.max_num_batched_tokens.n) *
            static_cast<double>(in.model.hidden) *
            static_cast<double>(in.settings.formats.dtype_bytes);
  }
  if (in.model.vision) peak += in.table.number("vision_encoder_gib") * kGiB;
  return peak + expert_workspace(in);
}

double non_torch(const TwinInput& in) {
  const Sharding& sharding = in.decisions.sharding;
  const char* name = sharding.tp >= 4   ? "non_torch_tp4_gib"
                     : sharding.tp >= 2 ? "non_torch_tp2_gib"
                     : sharding.pp > 1  ? "non_torch_pp_gib"
                                        : "non_torch_tp1_gib";
  return in.table.number(name) * kGiB;
}

double graphs(const TwinInput& in) {
  if (in.settings.eager) return 0;
  const EngineTable& t = in.table;
  const double layers = static_cast<double>(in.model.layers);
  double gib = t.number("graph_base_gib") + t.number("graph_layer_gib") * layers;
  if (in.decisions.sharding.tp > 1) gib += t.number("graph_tp_gib");
  if (in.model.experts_per_token > 0) gib += t.number("graph_experts_gib");
  return std::max(gib, t.number("graph_least_gib")) * kGiB;
}

void bounds(const TwinInput& in, EngineForecast& out) {
  if (!in.table.has("kv_residual_deviation_gib")) return;
  const auto summary = [&](const char* mean, const char* deviation) {
    return ResidualSummary{in.table.number(mean) * kGiB, in.table.number(deviation) * kGiB,
                           std::llround(in.table.number("residual_rows"))};
  };
  const ResidualSummary kv = summary("kv_residual_mean_gib", "kv_residual_deviation_gib");
  const ResidualSummary total = summary("total_residual_mean_gib", "total_residual_deviation_gib");
  out.kv_low = out.kv + rounded(std::min(0.0, lower_bound(kv, 0.995)));
  out.kv_high = out.kv + rounded(std::max(0.0, upper_bound(kv, 0.995)));
  out.total_high = out.total + rounded(std::max(0.0, upper_bound(total, 0.99)));
}

}  // namespace

KvPool kv_pool(const EngineModel& model, TokensPerBlock block, Tokens max_model_len,
               Tokens batched_tokens) {
  KvPool pool;
  std::int64_t fewest = 0, most = 0;
  for (const KvLayers& layers : model.kv) {
    pool.page = std::max(pool.page, layers.bytes_per_token * Tokens{block.n});
    fewest = fewest == 0 ? layers.layers : std::min(fewest, layers.layers);
    most = std::max(most, layers.layers);
  }
  if (fewest == 0) return pool;
  // Groups as long as the shortest kind; padding a little is cheaper when the kinds are near equal.
  pool.group_layers = most * 2 < fewest * 3 ? most : fewest;
  for (const KvLayers& layers : model.kv) {
    const std::int64_t groups = ceil_div(layers.layers, pool.group_layers);
    pool.groups += groups;
    // A page of the common size holds more tokens of a layer with smaller rows.
    const Bytes own = layers.bytes_per_token * Tokens{block.n};
    const bool longer = own.n > 0 && pool.page.n % own.n == 0;
    const TokensPerBlock tokens{longer ? block.n * (pool.page.n / own.n) : block.n};
    pool.pages_per_sequence += groups * pages_of(layers, tokens, max_model_len, batched_tokens);
  }
  return pool;
}

EngineForecast vllm_rank(const TwinInput& in) {
  EngineForecast out;
  const EngineSettings& s = in.settings;
  out.weights = in.model.weights;
  out.activations = rounded(activation_peak(in));
  out.non_torch = rounded(non_torch(in));
  out.graphs = rounded(graphs(in));
  out.available = rounded(static_cast<double>(in.decisions.capacity.n) * s.memory_fraction);
  // Newer versions capture the largest graphs while they profile, and leave room for all of them.
  const bool inside = in.table.has("graphs_in_fraction");
  const Bytes profiled = out.available - out.weights - out.activations - out.non_torch -
                         (inside ? out.graphs : Bytes{});
  out.kv = std::max(Bytes{0}, s.kv_cache_memory.value_or(profiled));
  const std::int64_t ranks = in.model.context_ranks;
  const KvPool pool = kv_pool(in.model, in.decisions.block, {ceil_div(s.max_model_len.n, ranks)},
                              s.max_num_batched_tokens);
  if (pool.groups > 0) {
    const std::int64_t blocks = floor_div(out.kv.n, (pool.page * pool.group_layers).n);
    // A block holds as many tokens on each of the ranks that share a cache.
    const int shared = in.model.context_ranks;
    out.kv_tokens = {blocks / pool.groups * in.decisions.block.n * shared};
    out.max_concurrency =
        static_cast<double>(blocks) / static_cast<double>(pool.pages_per_sequence);
    if (in.table.number("tokens_by_concurrency") != 0) {
      out.kv_tokens = {static_cast<std::int64_t>(
          std::floor(out.max_concurrency * static_cast<double>(s.max_model_len.n)))};
    }
  }
  // What other processes hold is no part of its own account; the share must be free at start.
  out.boots = out.max_concurrency >= 1.0 && out.available + s.beside <= in.decisions.capacity;
  out.total = out.weights + out.activations + out.non_torch + out.graphs + out.kv;
  bounds(in, out);
  return out;
}

}  // namespace vramplan
