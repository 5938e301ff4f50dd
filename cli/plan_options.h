#pragma once
// PlanOptions: the flags that plan, explain, run and verify share, and the plan they ask for.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/this_machine.h"
#include "modelcards/model_source.h"
#include "planner/plan.h"

namespace vramplan::cli {

struct PlanOptions {
  std::string model;
  std::string device;
  std::optional<int> count, tp, pp, cp, ep, threads;
  std::optional<std::int64_t> batch, block_tokens, samples, beams, kv_stride, replicas;
  std::optional<std::uint64_t> seed;
  // Words with units or names; read in request_of, so that the errors are ours.
  std::string context, output, prefill_chunk, capacity, weights, weight_layers, kv_format,
      kv_layers, kv_full_heads, kv_policy, kv_residual, kv_sinks, kv_window, kv_layout, preempt,
      kv_pool, kv_budget, kv_score, kv_placement, shared_prefix, attention, linear_inputs,
      assume_like, speculate, draft;
  std::optional<double> kv_offload, weight_offload, acceptance;
  bool activation_offload = false;
  std::vector<std::string> set;
};

/// Adds the flags, not MODEL.
void add_plan_flags(CLI::App& command, PlanOptions& options);
/// Errors: kUsage naming the flag.
PlanRequest request_of(const PlanOptions& options);

/// Of --speculate METHOD:K and --draft: what guesses, and how many tokens a step (0: not said).
struct AskedGuesses {
  std::string method;  // none ngram draft mtp eagle eagle3 medusa
  std::int64_t tokens = 0;
};
/// Errors: kUsage naming --speculate.
AskedGuesses asked_guesses(const PlanOptions& options);

/// device, host, disk. Errors: kUsage naming --kv-placement.
KvPlacement read_kv_placement(const std::string& text);

/// Everything a plan was made from, kept for the run that follows.
struct PlannedModel {
  ModelSource source;
  Bytes source_resident;  // what opening the model added to this process: its header's tables
  DeviceCard device;
  Plan plan;
};

/// Opens the model, applies --set, chooses the device and plans.
PlannedModel plan_model(const PlanOptions& options);
/// True for a YAML file that says it is a plan, where a model or its card could stand too.
bool is_plan_file(const std::string& path);
/// Errors: kFile, kBadYaml.
Plan read_plan_file(const std::string& path);
/// The model and device a plan names, opened again.
PlannedModel reopen(Plan plan);

}  // namespace vramplan::cli
