#pragma once
// RankRun: drives one rank through the passes of a scheduler and writes down what it saw.
#include <functional>
#include <vector>

#include "executor/beam_search.h"
#include "executor/measurement.h"
#include "executor/rank_engine.h"
#include "executor/sampler.h"

namespace vramplan {

class Guesser;

struct PassRecord {
  Phase phase = Phase::kPrefill;
  std::int64_t tokens = 0;    // rows of the pass
  std::int64_t produced = 0;  // tokens sampled
  std::int64_t first_sequence = 0;
  double seconds = 0;  // forward pass, waiting for it, and sampling
  double sampling_seconds = 0;
  std::int64_t slices = 1;  // sequences in it
};

struct RankRun {
  std::vector<PassRecord> passes;
  Bytes prefill_peak, decode_peak;    // high-water marks of the activation arena
  OpTimings prefill_ops, decode_ops;  // sums over the phase's passes
  PreemptionCounts preemption;
  SpeculationCounts speculation;
};

struct RunHooks {
  const Sampler* sampler = nullptr;                        // null: tokens are not wanted (dry)
  std::vector<BeamSearch>* beams = nullptr;                // of each prompt, instead of a sampler
  std::int64_t vocab = 0;                                  // logits of a row that are tokens
  std::function<void(std::int64_t rows)> charge_sampling;  // dry: the time of rows not looked at
  Guesser* guesser = nullptr;                              // of speculative decoding
  Trace* trace = nullptr;                                  // passes, and what is live between them
  bool ends_only = false;  // of decode, only the first and the last step: for sizes
  std::function<void(std::int64_t sequence, std::int32_t token)> on_token;
  std::function<void(const Pass& pass)> after_pass;
  std::function<void(const Pass& pass, const TensorView& logits)> on_logits;
};

RankRun run_passes(RankEngine& engine, Scheduler& scheduler, const RunHooks& hooks);

/// The rows of a rank that come from its tensors and blocks.
void add_observed_rows(Ledger& ledger, RankEngine& engine, const RankRun& run);

/// On a GPU: bytes of all that the reservation was made for, a draft model's too.
Bytes taken_in_reservation(RankEngine& engine, const RankRun& run, Guesser* guesser);

/// The rows of a draft model.
void add_draft_rows(Ledger& ledger, Guesser& guesser);

/// How a run of these decisions is scheduled.
SchedulerOptions scheduler_options(const Decisions& decisions,
                                   std::vector<std::int32_t> end_tokens);

/// Prompts of a run, batch / samples of them: those given, checked, or seeded random ids of the
/// planned length. Errors: kUsage naming the sequence.
std::vector<std::vector<std::int32_t>> prompts_of(
    const Decisions& decisions, std::int64_t vocab,
    const std::vector<std::vector<std::int32_t>>& given);

/// `ops`, the sampling and what is left of the phase's passes, divided by `parts`; the longest
/// first.
std::vector<ObservedTerm> terms_of(const RankRun& run, Phase phase, double parts);

/// Timings of passes that run stage after stage; ranks of one stage at the same time: a pass takes
/// the sum over stages of its slowest rank. All ranks have the same passes.
Timings timings_of(const std::vector<RankRun>& ranks, const Sharding& sharding);

}  // namespace vramplan
