#pragma once
// KeptTokens: what a running request keeps of an engine's cache, in the tokens that the engine's
// twin counts: share x tokens + tokens, at most all of them.
#include "planner/engines/engine_model.h"
#include "planner/engines/engine_table.h"

namespace vramplan {

struct KeptTokens {
  double share = 1, tokens = 0;
};

/// TensorRT-LLM's twin counts the tokens of its cache as if all layers kept all of them, and the
/// engine gives each window a pool of its own; the other twins' tokens know of windows.
/// gpt-oss, half of whose layers keep 128 tokens: {0.5, 64}.
inline KeptTokens kept_tokens(const EngineModel& model, EngineKind engine) {
  if (engine != EngineKind::kTrtllm) return {};
  double all = 0, full = 0, windowed = 0;
  for (const KvLayers& layers : model.kv) {
    const double weight =
        static_cast<double>(layers.layers) * static_cast<double>(layers.bytes_per_token.n);
    all += weight;
    if (layers.window == 0) full += weight;
    windowed += weight * static_cast<double>(layers.window);
  }
  if (all <= 0 || full <= 0) return {};
  return {full / all, windowed / all};
}

}  // namespace vramplan
