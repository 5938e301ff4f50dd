#pragma once
// Engine: runs Decisions on a backend: load, prefill in chunks, decode, measure. It is given no
// prediction. After it is built nothing more is reserved.
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "executor/backend.h"
#include "executor/measurement.h"
#include "executor/process_memory.h"
#include "executor/sampler.h"
#include "executor/trace.h"
#include "modelcards/model_source.h"

namespace vramplan {

/// What only the cuda backend asks.
struct CudaRequest {
  int device = 0;
  bool graphs = true;           // capture decode steps and replay them
  bool random_on_host = false;  // random weights with the values other backends make
};

struct RunRequest {
  /// One per sequence, at most context - output tokens each; empty = seeded random ids of that
  /// length.
  std::vector<std::vector<std::int32_t>> prompts;
  bool stop_at_end = false;              // an end token stops a sequence
  std::vector<std::int32_t> end_tokens;  // empty = the ids the GGUF file names (eos, eot)
  Sampling sampling;                     // beams: greedy
  double length_penalty = 1;    // beams: an answer of n tokens is worth log probability / n^penalty
  bool random_weights = false;  // no file: seeded weights of the card's shapes
  /// Refuse a run that will not fit before it takes anything. Without it the run goes on until the
  /// first tensor or block over the capacity: how the edge is tested.
  bool check_first = true;
  /// Resident bytes of the process before the model was opened, 0 = sample on entry (less
  /// `tokenizer`).
  Bytes process_base;
  Bytes tokenizer;                  // resident bytes that opening the vocabulary added, 0 = none
  ProcessMemory* memory = nullptr;  // null = this process
  std::string offload_directory;    // of a cache on a disk; empty = the system's for large files
  CudaRequest cuda;
  Trace* trace = nullptr;  // cpu: written as the run goes on
  std::function<void(std::int64_t sequence, std::int32_t token)> on_token;
  std::function<void(const std::string& stage, double fraction)> on_progress;
  /// Called now and then while other processes run the plan; what it throws ends them.
  std::function<void()> on_wait;
};

/// Runs all ranks of `decisions` (more than one only on dry) and measures.
/// Errors: kDoesNotFit before anything is taken, kOutOfPlan at the first take over, kUnsupported by
/// name, kStalePlan when the card is another one than at plan time, kUsage for a prompt that is
/// longer than planned or holds ids outside the vocabulary.
Measurement run_plan(const Decisions& decisions, const ModelSource& source,
                     const DeviceCard& device, const std::string& backend,
                     const RunRequest& request);

/// Logits of every position of one prompt, prefilled in chunks as a run does: [tokens, vocab] f32,
/// row by row. For comparisons with other implementations; `decisions.batch` and `output` do not
/// matter.
std::vector<float> prompt_logits(const Decisions& decisions, const ModelSource& source,
                                 Backend& backend, std::span<const std::int32_t> prompt,
                                 bool random_weights);

}  // namespace vramplan
