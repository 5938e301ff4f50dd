#pragma once
// Guesser: the part of speculative decoding around the model: makes guesses before a decode step,
// by looking back or by running a draft model, and keeps those that the model agrees with.
#include <cstdint>
#include <functional>
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
void refuse_guesses(const ModelSource& source, const Decisions& decisions);

class Guesser {
 public:
  struct Parts {
    const Decisions& decisions;
    std::int64_t vocab = 0;
    const Sampler* sampler = nullptr;  // null: nothing is computed; guesses are kept by chance
    RankEngine* draft = nullptr;       // loaded; for Guess::kDraft
    std::vector<std::vector<std::int32_t>> prompts;
    std::function<void(const Pass&)> after_draft_pass = {};
  };
  explicit Guesser(Parts parts);

  /// The draft reads a sequence's prompt.
  void prefill(std::int64_t sequence);
  /// Gives the scheduler guesses for every sequence that goes on: `tokens` of the decisions, or
  /// as many as leave one for the model.
  void guess(Scheduler& scheduler);
  /// Waits for the pass that `engine` just ran. Tokens of each of its sequences, from a row of
  /// logits for each that it asked about. Where nothing is computed a guess is kept with the
  /// probability of the decisions.
  std::vector<std::vector<std::int32_t>> keep(RankEngine& engine, const Pass& pass,
                                              const TensorView& logits, const Scheduler& scheduler);

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
  /// What an engine says in the rows of its logits: on a GPU tokens that were drawn there, when
  /// nothing is left to chance; else values that the CPU can read.
  struct Said {
    std::vector<std::int32_t> tokens;
    const float* values = nullptr;
    std::int64_t columns = 0;
  };
  Said said(RankEngine& engine, const TensorView& logits, std::int64_t rows);
  std::int32_t token_of(const Sampler& sampler, const Said& said, std::int64_t row,
                        std::int64_t sequence, std::int64_t step) const;
  Distribution distribution(const Said& said, std::int64_t row, std::int64_t sequence,
                            std::int64_t step) const;
  std::vector<std::int32_t> keep_by_chance(std::int64_t sequence, std::int64_t asked,
                                           std::int64_t step) const;

  Parts parts_;
  std::unique_ptr<Sampler> draft_sampler_;
  std::unique_ptr<Scheduler> draft_scheduler_;
  // Of the step that runs, by sequence; distributions of a draft that draws.
  std::vector<std::vector<std::int32_t>> guesses_;
  std::vector<std::vector<Distribution>> drawn_from_;
  std::vector<float> read_;  // logits from a GPU
  SpeculationCounts counts_;
  Bytes prefill_peak_;
  bool decodes_ = false;
};

}  // namespace vramplan
