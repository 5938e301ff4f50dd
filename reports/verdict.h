#pragma once
// Verdict: predicted against observed, row by row. "Not measured" never looks like a pass.
#include <string>
#include <vector>

#include "executor/measurement.h"
#include "planner/plan.h"

namespace vramplan {

enum class Outcome : std::uint8_t { kWithin, kOver, kUnder, kNotMeasured };
const char* name_of(Outcome outcome);   // within over under not_measured

/// kOver: more was predicted than seen; kUnder: less was predicted than seen (the OOM side).
struct VerdictRow {
  int rank = 0;
  TierKind tier = TierKind::kDevice;
  Category category = Category::kWeights;
  std::string name;
  Phase phase = Phase::kLoad;
  Bytes predicted, observed, error;     // error = predicted - observed
  Bytes tolerance;
  Outcome outcome = Outcome::kNotMeasured;
};

struct TimeRow {
  std::string name;                     // ttft_seconds, tpot_seconds, decode_tokens_per_second ...
  double predicted = 0, observed = 0, tolerance = 0;   // tolerance as a fraction
  Outcome outcome = Outcome::kNotMeasured;
  bool gates = false;                   // counts for the exit code
};

/// Allowed differences: exact for weights and KV; a share and a floor for the rest.
struct Tolerances {
  double activations = 0.01;
  double process = 0.02;
  Bytes process_floor{8 * 1024 * 1024};
  double process_under = 0.01;          // never under-predicted by more than this share
  double decode = 0.15, prefill = 0.20;
  bool gate_times = false;              // times are shared-machine noise unless asked for
};

struct Verdict {
  std::vector<VerdictRow> rows;
  VerdictRow process;                   // whole process against the operating system
  std::vector<TimeRow> times;
  int under_predictions = 0;            // rows with outcome kUnder
  Bytes worst_error;
  bool within = false;                  // every gating row within; none is not_measured
};

Verdict judge(const Plan& plan, const Measurement& measurement, const Tolerances& tolerances);

}  // namespace vramplan
