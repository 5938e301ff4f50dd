// TensorRT-LLM: free_gpu_memory_fraction is a share of what is free after the model is loaded and
// its activations are reserved; the smallest of all limits wins.
#include <algorithm>
#include <cmath>

#include "planner/engines/attention_windows.h"
#include "planner/engines/twin.h"

namespace vramplan {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

Bytes rounded(double bytes) { return {std::llround(bytes)}; }

/// 2 tokens x heads x head_dim x c, c by tensor-parallel ranks; a floor below.
double activations(const TwinInput& in) {
  const EngineTable& t = in.table;
  const int tp = in.decisions.sharding.tp;
  const std::string ranks = tp >= 8 ? "tp8" : tp >= 4 ? "tp4" : tp >= 2 ? "tp2" : "tp1";
  const std::string kind =
      in.model.experts_per_token > 0 ? "activation_experts_" : "activation_dense_";
  const double width =
      static_cast<double>(in.model.heads * in.model.head_dim * in.model.attention_tp);
  return std::max(t.number("activation_least_mib") * kMiB,
                  2.0 * static_cast<double>(in.settings.max_num_batched_tokens.n) * width *
                      t.number(kind + ranks));
}

/// All layers keep all tokens.
void one_pool(const TwinInput& in, BytesPerToken per_token, EngineForecast& out) {
  if (in.settings.kv_tokens) out.kv = std::min(out.kv, per_token * *in.settings.kv_tokens);
  const std::int64_t block = in.decisions.block.n;
  out.kv_tokens = {floor_div(out.kv.n, per_token.n * block) * block};
  out.max_concurrency =
      static_cast<double>(out.kv_tokens.n) / static_cast<double>(in.settings.max_model_len.n);
}

/// Windows of different lengths have a pool each; the pools are for sequences of max_model_len
/// tokens, and kv_tokens are those of such sequences. max_tokens bounds every pool, not their sum.
void pools_by_window(const TwinInput& in, EngineForecast& out) {
  const EngineSettings& s = in.settings;
  const std::vector<LayerPool> pools = window_pools(in.model, s.attention_windows, s.max_model_len,
                                                    out.kv, in.decisions.block, s.kv_tokens);
  out.kv = {};
  for (const LayerPool& pool : pools) {
    out.kv_pools.push_back(
        {{pool.window}, pool.bytes, pool.tokens, {pool.tokens.n / in.decisions.block.n}});
    out.kv += pool.bytes;
  }
  out.max_concurrency = sequences_in(pools, s.max_model_len, in.decisions.block);
  out.kv_tokens = {
      static_cast<std::int64_t>(out.max_concurrency * static_cast<double>(s.max_model_len.n))};
}

}  // namespace

EngineForecast trtllm_rank(const TwinInput& in) {
  const EngineTable& t = in.table;
  EngineForecast out;
  const int ranks = in.decisions.sharding.ranks();
  const double communicator = ranks >= 4   ? t.number("comm_4_mib")
                              : ranks >= 2 ? t.number("comm_2_mib")
                                           : 0.0;
  out.weights = in.model.weights;
  out.activations = rounded(activations(in));
  out.non_torch = rounded((t.number("context_mib") + communicator) * kMiB);
  const Bytes free =
      in.decisions.capacity - in.settings.beside - out.weights - out.activations - out.non_torch;
  out.available = rounded(std::max(0.0, static_cast<double>(free.n)) * in.settings.memory_fraction);
  out.kv = out.available;
  if (in.settings.kv_cache_memory) out.kv = std::min(out.kv, *in.settings.kv_cache_memory);
  const BytesPerToken per_token = in.model.kv_bytes_per_token();
  if (per_token.n > 0 && !in.settings.attention_windows.empty()) {
    pools_by_window(in, out);
  } else if (per_token.n > 0) {
    one_pool(in, per_token, out);
  }
  out.total = out.weights + out.activations + out.non_torch + out.kv;
  out.boots = out.max_concurrency >= 1.0;
  return out;
}

}  // namespace vramplan
