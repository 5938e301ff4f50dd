// TensorRT-LLM: free_gpu_memory_fraction is a share of what is free after the model is loaded and
// its activations are reserved; the smallest of all limits wins.
#include <algorithm>
#include <cmath>

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
  if (in.settings.kv_tokens) out.kv = std::min(out.kv, per_token * *in.settings.kv_tokens);
  if (per_token.n > 0) {
    const std::int64_t block = in.decisions.block.n;
    out.kv_tokens = {floor_div(out.kv.n, per_token.n * block) * block};
    out.max_concurrency =
        static_cast<double>(out.kv_tokens.n) / static_cast<double>(in.settings.max_model_len.n);
  }
  out.total = out.weights + out.activations + out.non_torch + out.kv;
  out.boots = out.max_concurrency >= 1.0;
  return out;
}

}  // namespace vramplan
