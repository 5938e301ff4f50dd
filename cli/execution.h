#pragma once
// Execution: what run and verify share: which backend, what is refused before anything is taken,
// and the run itself with its progress line and interruption.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/plan_options.h"
#include "executor/engine.h"
#include "executor/tokenizer.h"

namespace vramplan::cli {

/// Named, or cpu for a plan of one cpu device, or dry.
std::string choose_backend(const std::string& named, const PlannedModel& planned);
/// Errors: kUsage for a name that is no backend; for cuda kNoDevice where there is no device, and
/// kUnsupported where this build has no kernels.
void require_backend(const std::string& backend);
/// Errors: kUnsupported when a backend that computes is asked to run a plan made for another kind
/// of device, or for several ranks.
void require_runnable(const std::string& backend, const PlannedModel& planned);
/// Errors: kDoesNotFit with the missing bytes, when a rank was predicted to need more than
/// `capacity`.
void require_fit(const Plan& plan);

/// "smollm2-135m on this-machine, cpu": the heading of a report.
std::string run_name(const PlannedModel& planned, const std::string& backend);
/// Without a file there are no weights: an assumption says that they will be random.
void note_random_weights(PlannedModel& planned, const std::string& backend);

/// --offload-dir.
void add_offload_flag(CLI::App& command, std::string& directory);
/// --gpu and --no-graphs.
void add_cuda_flags(CLI::App& command, CudaRequest& cuda);

struct TextRequest {
  std::optional<std::string> prompt, chat;  // at most one
  std::optional<std::int64_t> max_tokens;
  Sampling sampling;
  std::optional<std::int64_t> beams, replicas;  // instead of the plan's
  double length_penalty = 1;                    // of beams
  bool check_first = true;                      // refuse before anything is taken
  std::string offload_directory;
  std::string result_cache;  // file of results kept before; empty = none are
  CudaRequest cuda;
  Trace* trace = nullptr;                           // see RunRequest
  std::function<void(const std::string&)> on_text;  // whole UTF-8 characters, as they are generated
};

/// Runs the decisions in a process that ran something before (see warm_up.h); text in and out when
/// asked for. A prompt of text, or a number of tokens, is planned anew first, so that `planned`
/// says what is run. A GGUF's tokenizer is opened and kept for the whole run, text or not: the plan
/// counts its tables. Adds the text to the measurement. Errors: those of run_plan; kUsage for text
/// without a tokenizer or longer than the context.
Measurement execute(PlannedModel& planned, const std::string& backend, const TextRequest& text);

}  // namespace vramplan::cli
