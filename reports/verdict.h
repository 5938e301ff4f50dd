#pragma once
// Verdict: predicted against observed, row by row. "Not measured" never looks like a pass.
#include <optional>
#include <string>
#include <vector>

#include "executor/measurement.h"
#include "planner/plan.h"

namespace vramplan {

enum class Outcome : std::uint8_t { kWithin, kOver, kUnder, kNotMeasured };
const char* name_of(Outcome outcome);  // within over under not_measured

/// One term of the account in both fillings. error = predicted - observed, so a negative error is
/// an under-prediction, the side on which memory runs out. kOver: more was predicted than seen;
/// kUnder: less was predicted than seen; both only outside the row's tolerance. Of a kNotMeasured
/// row only `predicted` has a meaning.
struct VerdictRow {
  int rank = 0;
  TierKind tier = TierKind::kDevice;
  Category category = Category::kWeights;
  std::string name;
  Phase phase = Phase::kLoad;
  Bytes predicted, observed, error;  // error = predicted - observed
  Bytes tolerance;                   // error may be at most this much above zero ...
  Bytes under_tolerance;             // ... and at most this much below
  Outcome outcome = Outcome::kNotMeasured;
  bool gates = false;          // counts for the exit code
  std::string formula, probe;  // why predicted; how observed
};

/// Seconds or rates: kOver means that the predicted number is the larger one.
struct TimeRow {
  std::string name;  // ttft_seconds, tpot_seconds, decode_tokens_per_second ...
  double predicted = 0, observed = 0, tolerance = 0;  // tolerance as a fraction of observed
  double error = 0;                                   // (predicted - observed) / observed
  bool optimistic = false;                            // predicted faster than seen
  Outcome outcome = Outcome::kNotMeasured;
  bool gates = false;  // counts for the exit code
};

/// Seconds of one operation in both fillings: prefill of one sequence, or one decode step.
struct TermRow {
  Phase phase = Phase::kPrefill;
  std::string op;
  Seconds predicted, observed;
  double share_of_phase = 0;  // (predicted - observed) / all that was observed in the phase
  double error() const { return observed.v > 0 ? predicted.v / observed.v - 1 : 0; }
};

/// Of speculative decoding. How many guesses are kept is the text's business: the plan supposes a
/// share, and what follows from it cannot be wrong or right. What a step takes can.
struct SpeculationVerdict {
  double assumed_acceptance = 0, acceptance = 0;  // of the guesses looked at; see by_chance
  double predicted_tokens = 1, tokens = 1;        // that a sequence takes from a step
  bool by_chance = false;  // nothing was computed: acceptance and tokens are draws of the assumed
  /// Predicted given the observed acceptance: the plan's step over the tokens that its formula
  /// expects of it. No prediction, which was made before; nothing where no guess was looked at.
  std::optional<Seconds> tpot_given;
  Seconds tpot;  // observed
};

/// The signed errors of a category, added up over its measured rows.
struct TermScore {
  Category category = Category::kWeights;
  int rows = 0, not_measured = 0;
  Bytes predicted, observed, error;  // of the measured rows
  Bytes worst;                       // the error of largest magnitude
};

/// Allowed differences: exact for weights and KV; a share of the observed bytes, and a floor, for
/// the rest.
struct Tolerances {
  double activations = 0.01;
  double process = 0.02;
  Bytes process_floor{8 * 1024 * 1024};
  double process_under = 0.01;  // never under-predicted by more than this share
  double decode = 0.15, prefill = 0.20;
  bool gate_times = false;  // times are shared-machine noise unless asked for
};

struct Verdict {
  std::vector<VerdictRow> rows;
  VerdictRow process;  // whole process against the operating system
  std::vector<TimeRow> times;
  std::vector<TermScore> terms;  // one a category that has rows
  std::optional<SpeculationVerdict> speculation;
  std::vector<TermRow> time_terms;  // empty where the run could not time its operations
  /// Measured rows, gating or not, and the process, with observed > predicted by one byte or more:
  /// an under-prediction inside its tolerance still counts here.
  int under_predictions = 0;
  Bytes worst_error;                  // largest magnitude of the measured rows and the process
  std::string worst_row;              // what it belongs to
  std::vector<std::string> failures;  // one sentence for each reason why it is not within
  std::vector<std::string> notes;     // what was not measured, and why that is no failure
  bool within = false;                // every gating row within; none is not_measured
};

/// Joins the two ledgers on (rank, tier, category, name, phase); rows with the same key are added
/// up. A predicted row that nobody observed is not_measured; an observed row that nobody predicted
/// is a row of its own with predicted 0.
///
/// Tolerances: weights, kv_cache, draft and runtime "arena padding" are exact; activations
/// `activations` of the observed bytes; all of these gate, and a missing observation fails. Other
/// rows are informative: judged like the process, never gating. Process: max over phases of the
/// live bytes predicted for rank 0's device tier (on the cpu backend its host tier too: both are
/// this machine's memory) against `process_peak`; at most max(process x observed, process_floor)
/// too much and process_under x observed too little. It gates, except on the dry backend, which
/// takes no memory that could be measured. A run that did not complete, a broken identity capacity
/// = free + rows + unaccounted, and a comparison without a gating row are failures. Of a plan with
/// guesses the seconds of a step can gate, and what is per token, which an assumed acceptance is
/// in, cannot.
Verdict judge(const Plan& plan, const Measurement& measurement, const Tolerances& tolerances);

/// "weights attention (load), rank 0 device": how sentences name a row.
std::string describe(const VerdictRow& row);
/// True for the dry backend: bytes are the real scheduler's and pools', seconds the device card's.
bool is_dry(const Measurement& measurement);

}  // namespace vramplan
