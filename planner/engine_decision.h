#pragma once
// EngineDecision: the settings of an inference engine that a plan was made for, kept in the plan
// file as they were asked for, so that emit, verify-log and a later reading mean the same engine.
// What was not asked for stays unset and follows the engine's defaults.
#include <optional>
#include <string>

#include "modelcards/units.h"
#include "modelcards/yaml.h"

namespace vramplan {

/// Requests the plan's serving times are for.
struct ServingDecision {
  Tokens input, output;
  std::int64_t concurrency = 1;
  std::string arrival = "spread";  // spread equal steady
  bool operator==(const ServingDecision&) const = default;
};

/// Drafting of further tokens, which the model verifies in one step.
struct Speculation {
  /// none; ngram: from the text so far; draft: a smaller model; mtp: the model's own layers;
  /// eagle, eagle3, medusa: heads trained for the model.
  std::string method = "none";
  std::int64_t tokens = 0;  // drafted a step
  std::string model;        // of the draft or heads, as the engine is told; may be empty for heads
  std::optional<double> acceptance;  // chance that a drafted token is kept; unset: assumed
  bool operator==(const Speculation&) const = default;
};

struct EngineDecision {
  std::string engine;  // "vllm@0.19.0", or without a version
  std::optional<double> memory_fraction;
  std::optional<Tokens> max_model_len, max_num_batched_tokens, kv_tokens;
  std::optional<std::int64_t> max_num_seqs;
  std::optional<Bytes> kv_cache_memory;
  std::string dtype = "auto", kv_cache_dtype = "auto", quantization = "none";
  std::string quantized_parts = "all";
  Bytes tower, beside, transient;
  std::int64_t tower_positions = 0, tower_heads = 0;
  int expert_parallel = 1;
  int attention_dp = 1;
  int context_parallel = 1;
  Speculation speculation;
  bool eager = false;  // no CUDA graphs
  bool flash_attention = true;
  std::optional<ServingDecision> serving;
  bool operator==(const EngineDecision&) const = default;
};

/// Lines of a YAML map, each after `indent`; only what is set.
std::string write_engine_decision(const EngineDecision& decision, const std::string& indent);
/// Errors: kBadYaml naming file, line and field.
EngineDecision read_engine_decision(const YamlNode& node);

}  // namespace vramplan
