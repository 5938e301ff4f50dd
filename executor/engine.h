#pragma once
// Engine: runs Decisions on a backend: load, prefill in chunks, decode, measure. It is given no
// prediction. After it is built nothing more is reserved.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "executor/backend.h"
#include "executor/measurement.h"
#include "executor/tokenizer.h"
#include "modelcards/model_source.h"

namespace vramplan {

struct Sampling {
  double temperature = 0;        // 0 = greedy
  double top_p = 1;
  std::uint64_t seed = 0;
};

struct RunRequest {
  std::vector<std::vector<std::int32_t>> prompts;   // one per sequence; empty = seeded random ids
  bool stop_at_end = false;                          // end-of-sequence token stops a sequence
  Sampling sampling;
  bool random_weights = false;                       // no file: seeded weights of the card's shapes
  std::function<void(std::int64_t sequence, std::int32_t token)> on_token;
  std::function<void(const std::string& stage, double fraction)> on_progress;
};

/// Runs all ranks of `decisions` (more than one only on dry) and measures.
/// Errors: kDoesNotFit before anything is taken, kOutOfPlan at the first take over, kUnsupported by
/// name, kStalePlan when the card is another one than at plan time.
Measurement run_plan(const Decisions& decisions, const ModelSource& source, const DeviceCard& device,
                     const std::string& backend, const RunRequest& request);

}  // namespace vramplan
