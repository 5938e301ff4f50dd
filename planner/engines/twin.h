#pragma once
// Twin: what an inference engine would reserve for a model on a device, and print at start-up,
// computed as that engine computes it, with the constants of its version's data table. Four
// engines, four meanings of "fraction" and four of "context"; each has its own .cc.
#include <optional>
#include <string>
#include <vector>

#include "modelcards/device_card.h"
#include "planner/engines/engine_model.h"
#include "planner/engines/engine_table.h"
#include "planner/engines/forecast.h"
#include "planner/engines/speculation.h"
#include "planner/engines/vision_tower.h"
#include "planner/plan.h"

namespace vramplan {

/// An engine, what was asked of it, and the draft model that its speculation names.
struct EngineRequest : EngineFlags {
  EngineId id;
  /// The draft model, or the shape of a head, that speculation.model names; none: see draft_model.
  std::shared_ptr<const ModelSource> draft;
};

/// The request as a plan keeps it, and back, without the draft's model. Errors: those of
/// parse_engine.
EngineDecision engine_decision(const EngineRequest& request);
EngineRequest engine_request(const EngineDecision& decision);

/// The request with every question answered.
struct EngineSettings {
  double memory_fraction = 0;
  Tokens max_model_len, max_num_batched_tokens;
  std::int64_t max_num_seqs = 1;
  std::optional<Bytes> kv_cache_memory;
  std::optional<Tokens> kv_tokens;
  std::vector<std::int64_t> attention_windows;
  EngineFormats formats;
  bool flash_attention = true;
  bool eager = false;
  Bytes beside, transient;
  TowerShape tower_shape;
  std::string kv_word;  // the engine's word for the cache format
  double kv_bits = 16;  // bits of a cache element, scales included
  Speculation speculation;
};

struct EngineOutcome {
  std::vector<EngineForecast> devices;  // by rank
  std::vector<Assumption> assumptions;
  bool fits = false;  // every rank boots, within the device
};

EngineSettings engine_settings(const EngineTable& table, const ModelSource& source,
                               const DeviceCard& device, const Decisions& decisions,
                               const EngineRequest& request, std::vector<Assumption>& assumptions);

/// Errors: kUnsupported by name for what the engine's twin does not model, kUsage for settings that
/// contradict each other.
EngineOutcome forecast_engine(const ModelSource& source, const DeviceCard& device,
                              const Decisions& decisions, const EngineRequest& request);

/// One rank, by engine. `model` is the rank's part.
struct TwinInput {
  const EngineTable& table;
  const DeviceCard& device;
  const Decisions& decisions;
  const EngineSettings& settings;
  const EngineModel& model;            // its weights and cache hold the draft's (not llama.cpp)
  const EngineModel* draft = nullptr;  // of speculation, when it has one
};
EngineForecast vllm_rank(const TwinInput& in);
EngineForecast sglang_rank(const TwinInput& in);
EngineForecast trtllm_rank(const TwinInput& in);
EngineForecast llamacpp_rank(const TwinInput& in);

/// vLLM's KV pool: pages of one size for all layers (a layer with smaller rows has longer blocks
/// when its page divides the largest), layers of one kind in groups of equal length. Source: vLLM
/// v1/core/kv_cache_utils.py, reference in planner/engines/README.md.
struct KvPool {
  std::int64_t group_layers = 0;  // layers of a group after padding
  std::int64_t groups = 0;
  Bytes page;                           // one block of one layer
  std::int64_t pages_per_sequence = 0;  // of max_model_len tokens, all groups together
};
KvPool kv_pool(const EngineModel& model, TokensPerBlock block, Tokens max_model_len,
               Tokens batched_tokens);

}  // namespace vramplan
