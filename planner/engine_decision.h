#pragma once
// EngineFlags: the settings of an inference engine as they were asked for, one vocabulary for all
// engines. EngineDecision: those a plan was made for, kept in the plan file so that emit,
// verify-log and a later reading mean the same engine. The executor never sees either.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "modelcards/units.h"
#include "planner/engines/vision_tower.h"

namespace vramplan {

class YamlNode;

/// Requests the plan's serving times are for.
struct ServingDecision {
  Tokens input, output;
  std::int64_t concurrency = 1;
  std::string arrival = "spread";  // spread equal steady static
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

/// An engine's own settings, as they were asked for. What is not set follows the plan or the
/// default of its version, and is listed as an assumption.
struct EngineFlags {
  std::optional<double> memory_fraction;  // each engine's own fraction; see twin.cc
  std::optional<Tokens> max_model_len, max_num_batched_tokens;
  std::optional<Tokens> kv_tokens;  // SGLang --max-total-tokens: at most these
  std::optional<std::int64_t> max_num_seqs;
  std::optional<Bytes> kv_cache_memory;  // vLLM --kv-cache-memory-bytes: instead of profiling
  /// TensorRT-LLM: tokens that the layers of a rank keep, a list that repeats; empty: all of them.
  std::vector<std::int64_t> attention_windows;
  std::string dtype = "auto";           // auto float16 bfloat16 float32
  std::string kv_cache_dtype = "auto";  // auto fp16 bf16 fp8 ... by engine
  std::string quantization = "none";
  std::string quantized_parts = "all";  // all feed_forward experts
  Bytes tower;                          // weights beside the decoder, on every first stage
  /// What other processes hold on each device: an engine that starts at the same time, a desktop.
  Bytes beside;
  /// Taken and given back while serving, beside what is predicted: pools of prefill graphs.
  Bytes transient;
  TowerShape tower_shape;  // llama.cpp: what the projector's encoder computes at once
  /// Tensor ranks that share whole experts instead of parts of every one; attention stays split.
  int expert_parallel = 1;
  /// Groups of the tensor ranks that attend sequences of their own (vLLM: data parallel ranks; the
  /// plan's tp is what all of them are together). Lengths and counts of a step are the engine's
  /// flags: of all groups for SGLang, of one group for vLLM and TensorRT-LLM.
  int attention_dp = 1;
  /// Tensor ranks that share the tokens of one cache (decode context parallel): each keeps every
  /// n-th, of all the heads that the ranks would hold copies of.
  int context_parallel = 1;
  Speculation speculation;
  bool eager = false;  // vLLM --enforce-eager, SGLang --disable-cuda-graph: no graphs are captured
  bool flash_attention = true;  // llama.cpp
  bool operator==(const EngineFlags&) const = default;
};

struct EngineDecision : EngineFlags {
  std::string engine;  // "vllm@0.19.0", or without a version
  std::optional<ServingDecision> serving;
  bool operator==(const EngineDecision&) const = default;
};

/// Lines of a YAML map, each after `indent`; only what is set.
std::string write_engine_decision(const EngineDecision& decision, const std::string& indent);
/// Errors: kBadYaml naming file, line and field.
EngineDecision read_engine_decision(const YamlNode& node);

}  // namespace vramplan
