#pragma once
// AttentionWindows: how many tokens each layer keeps in the cache of an engine that is told so
// layer by layer, and the pools that follow. TensorRT-LLM (kv_cache_config.max_attention_window):
// layer i of a rank keeps the i-th number of a list that repeats; without a list all layers keep
// everything, windowed or not. Source: TensorRT-LLM 1.0 _torch/pyexecutor/resource_manager.py
// (_get_window_size_to_layers), kvCacheManager.cpp (calculateWindowSizeToShare,
// calculateMaxNumBlocks).
#include <optional>
#include <string>
#include <vector>

#include "modelcards/model_source.h"
#include "planner/decisions.h"
#include "planner/engines/engine_model.h"

namespace vramplan {

/// "512,512,4096". Errors: kUsage for a number that is not from 1 to 2^40, an empty list, or more
/// numbers than a model has layers (4096).
std::vector<std::int64_t> parse_attention_windows(const std::string& text, const char* flag);
std::string attention_windows_text(const std::vector<std::int64_t>& windows);

/// The list that keeps what the layers of the model look at, layers without a window `max_len`
/// tokens; in its shortest repeating form. Empty when no layer has a window below max_len, and when
/// the stages of a pipeline would not all begin with the list's first number: each rank counts its
/// own layers from 0.
std::vector<std::int64_t> attention_windows(const ModelCard& card, const Decisions& decisions,
                                            Tokens max_len);

/// Layers of a rank that keep alike, and what their pool gets.
struct LayerPool {
  std::int64_t window = 0;        // tokens, at most max_len
  BytesPerToken bytes_per_token;  // of all its layers
  Bytes bytes;                    // the pool: its share is window x bytes_per_token of the sum
  Tokens tokens;                  // whole blocks, as the engine rounds them: up
};
/// Ascending by window. `limit`: at most so many tokens in every pool.
std::vector<LayerPool> window_pools(const EngineModel& model,
                                    const std::vector<std::int64_t>& windows, Tokens max_len,
                                    Bytes cache, TokensPerBlock block, std::optional<Tokens> limit);
/// Sequences of `tokens` tokens that all pools hold at once, in whole blocks.
double sequences_in(const std::vector<LayerPool>& pools, Tokens tokens, TokensPerBlock block);

}  // namespace vramplan
