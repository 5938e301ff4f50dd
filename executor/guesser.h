#pragma once
// Guesser: the part of speculative decoding around the model: makes guesses before a decode step,
// by looking back or by running a draft model, and keeps those that the model agrees with.
#include <cstdint>
#include <memory>
#include <vector>

#include "executor/measurement.h"
#include "executor/rank_engine.h"
#include "executor/sampler.h"
#include "executor/scheduler.h"
#include "executor/speculative.h"

namespace vramplan {

/// Guesses may have to be taken back: from caches that keep all, of sequences of their own. Errors:
/// kUnsupported naming --speculate, kUsage, and kStalePlan for another draft than at plan time.
void refuse_guesses(const ModelSource& source, const Decisions& decisions, bool gpu);

class Guesser {
 public:
  struct Parts {
    const Decisions& decisions;
    std::int64_t vocab = 0;
    const Sampler* sampler = nullptr;  // null: nothing is computed; guesses are kept by chance
    RankEngine* draft = nullptr;       // loaded; for Guess::kDraft
    std::vector<std::vector<std::int32_t>> prompts;
  };
  explicit Guesser(Parts parts);

  /// The draft reads a sequence's prompt.
  void prefill(std::int64_t sequence);
  /// Gives the scheduler guesses for every sequence that goes on: `tokens` of the decisions, or
  /// as many as leave one for the model.
  void guess(Scheduler& scheduler);
  /// Tokens of each sequence of the pass just run, from a row of logits for each that it asked
  /// about. Where nothing is computed a guess is kept with the probability of the decisions.
  std::vector<std::vector<std::int32_t>> keep(const Pass& pass, const TensorView& logits,
                                              const Scheduler& scheduler);

  const SpeculationCounts& counts() const { return counts_; }
  const RankEngine* draft() const { return parts_.draft; }
  RankEngine* draft() { return parts_.draft; }
  /// High-water marks of the draft's activations.
  Bytes prefill_peak() const { return prefill_peak_; }
  Bytes decode_peak() const;

 private:
  std::int64_t wanted(const Scheduler& scheduler, std::int64_t sequence) const;
  void ask_draft(Scheduler& scheduler);
  void draft_pass();
  Distribution distribution(const float* row, std::int64_t sequence, std::int64_t step) const;
  std::vector<std::int32_t> keep_by_chance(std::int64_t sequence, std::int64_t asked,
                                           std::int64_t step) const;

  Parts parts_;
  std::unique_ptr<Sampler> draft_sampler_;
  std::unique_ptr<Scheduler> draft_scheduler_;
  // Of the step that runs, by sequence; distributions of a draft that draws.
  std::vector<std::vector<std::int32_t>> guesses_;
  std::vector<std::vector<Distribution>> drawn_from_;
  SpeculationCounts counts_;
  Bytes prefill_peak_;
  bool decodes_ = false;
};

}  // namespace vramplan
