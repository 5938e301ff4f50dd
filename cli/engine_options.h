#pragma once
// EngineOptions: the flags that describe an inference engine, shared by plan, emit and search.
#include <cstdint>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/plan_options.h"
#include "planner/engines/twin.h"

namespace vramplan::cli {

struct EngineOptions {
  std::string engine;  // "vllm@0.19.0"; empty = none
  std::optional<double> memory_fraction;
  std::string max_model_len, max_num_batched_tokens, kv_cache_memory, tower;
  std::optional<std::int64_t> max_num_seqs;
  std::string dtype = "auto", kv_cache_dtype, quantization = "none", quantized_parts = "all";
  bool no_flash_attention = false;
  std::string beside, transient;
  std::int64_t tower_positions = 0, tower_heads = 0;
  std::string attention_windows;
  int expert_parallel = 1, attention_dp = 1, context_parallel = 1;
  bool eager = false;
  Speculation speculation;   // moved from the plan's flags
  std::string input_tokens;  // of a request, for serving times
  std::optional<std::int64_t> concurrency;
  std::string arrival;  // empty = spread
};

void add_engine_flags(CLI::App& command, EngineOptions& options);
/// Whether a flag of an engine other than --engine was given.
bool has_engine_settings(const EngineOptions& options);
/// Errors: kUnknownName, kUsage naming the flag; an engine flag without --engine is kUsage.
std::optional<EngineRequest> engine_request(const EngineOptions& options);
/// Opens the model that request.speculation names, when it is a card or a file. Errors: those of
/// open_model, kUnknownName for a draft that no card stands for.
void open_draft(EngineRequest& request);
/// --speculate, --draft and --speculate-acceptance mean the engine where one is planned for: its
/// own way of guessing, not the executor's. Errors: those of asked_guesses.
void move_speculation(PlanOptions& plan, EngineOptions& engine);
/// --ep means the plan's own ranks where no engine is planned for.
void move_experts(EngineOptions& engine, PlanOptions& plan);
/// The context of a plan for an engine is its max model length unless --context says otherwise.
void follow_engine(const EngineOptions& engine, PlanOptions& plan);
/// The cache format of --kv-cache-dtype is the engine's too, unless --engine-kv-cache-dtype says
/// another. Errors: kUnsupported for a format or a mix of formats that the engine does not have.
void follow_plan_cache(const EngineOptions& options, const PlanOptions& asked,
                       const Decisions& decisions, EngineRequest& request);
/// Whether a plan fits when its executor and the engine both say so, or when the engine does.
enum class EngineVerdict { kBothDecide, kDecides };
/// Adds the twin's numbers to every device of the plan, its assumptions, and its verdict.
void add_forecast(const EngineRequest& request, PlannedModel& planned,
                  EngineVerdict verdict = EngineVerdict::kBothDecide);

/// Adds serving times when --concurrency is given; --output-tokens is the plan's. Errors: kUsage,
/// kUnsupported.
void add_serving(const EngineOptions& options, const EngineRequest& request, PlannedModel& planned);

/// Predicts again what the engine section of a plan read from a file says; its verdict and its
/// assumptions stay the file's.
void restore_forecast(PlannedModel& planned);

}  // namespace vramplan::cli
