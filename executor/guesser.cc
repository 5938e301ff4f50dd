#include "executor/guesser.h"

#include <algorithm>
#include <utility>

#include "executor/rng.h"

namespace vramplan {
namespace {

constexpr std::uint64_t kDraftStream = 0x6a09e667f3bcc909ULL;  // a stream of draws of its own
constexpr std::uint64_t kKeepStream = 0xbb67ae8584caa73bULL;

SchedulerOptions draft_options(const Decisions& decisions) {
  SchedulerOptions options;
  options.block = decisions.block;
  options.prefill_chunk = decisions.prefill_chunk.n;
  options.output = decisions.output.n;
  options.whole = true;
  return options;
}

SplitMix64 rng_of(std::uint64_t seed, std::int64_t sequence, std::int64_t step) {
  SplitMix64 of_sequence(seed ^ kKeepStream ^
                         (static_cast<std::uint64_t>(sequence) * 0xd1342543de82ef95ULL));
  return SplitMix64(of_sequence.next() + static_cast<std::uint64_t>(step));
}

}  // namespace

Guesser::Guesser(Parts parts)
    : parts_(std::move(parts)),
      guesses_(parts_.prompts.size()),
      drawn_from_(parts_.prompts.size()) {
  counts_.by_chance = parts_.sampler == nullptr;
  if (parts_.draft == nullptr) return;
  if (parts_.sampler != nullptr) {
    Sampling sampling = parts_.sampler->sampling();
    sampling.seed ^= kDraftStream;
    draft_sampler_ = std::make_unique<Sampler>(sampling);
  }
  draft_scheduler_ = std::make_unique<Scheduler>(parts_.draft->kv(), parts_.prompts,
                                                 draft_options(parts_.decisions));
  parts_.draft->activations().reset_high_water();
}

void Guesser::prefill(std::int64_t sequence) {
  if (draft_scheduler_ == nullptr) return;
  while (!draft_scheduler_->is_prefilled(sequence)) draft_pass();
  prefill_peak_ = std::max(prefill_peak_, parts_.draft->activations().high_water());
}

Bytes Guesser::decode_peak() const {
  return parts_.draft != nullptr && decodes_ ? parts_.draft->activations().high_water() : Bytes{};
}

std::int64_t Guesser::wanted(const Scheduler& scheduler, std::int64_t sequence) const {
  if (scheduler.is_finished(sequence)) return 0;
  const auto made = static_cast<std::int64_t>(scheduler.generated(sequence).size());
  return std::min(parts_.decisions.speculation.tokens, parts_.decisions.output.n - made - 1);
}

void Guesser::guess(Scheduler& scheduler) {
  for (std::size_t i = 0; i < guesses_.size(); ++i) {
    guesses_[i].clear();
    drawn_from_[i].clear();
  }
  if (draft_scheduler_ != nullptr) {
    ask_draft(scheduler);
  } else {
    for (std::size_t i = 0; i < guesses_.size(); ++i) {
      const auto sequence = static_cast<std::int64_t>(i);
      const std::int64_t count = wanted(scheduler, sequence);
      if (count > 0) guesses_[i] = ngram_guesses(scheduler.tokens_of(sequence), count);
    }
  }
  for (std::size_t i = 0; i < guesses_.size(); ++i) {
    const auto sequence = static_cast<std::int64_t>(i);
    if (!scheduler.is_finished(sequence)) scheduler.guess(sequence, guesses_[i]);
  }
}

/// One pass of the draft a guess; sequences that want fewer leave early.
void Guesser::ask_draft(Scheduler& scheduler) {
  Scheduler& draft = *draft_scheduler_;
  std::int64_t most = 0;
  std::vector<std::int64_t> wants(guesses_.size());
  for (std::size_t i = 0; i < wants.size(); ++i) {
    const auto sequence = static_cast<std::int64_t>(i);
    wants[i] = wanted(scheduler, sequence);
    most = std::max(most, wants[i]);
    if (wants[i] > 0) draft.rewrite(sequence, scheduler.generated(sequence));
  }
  if (most > 0 && !decodes_) {
    decodes_ = true;
    parts_.draft->activations().reset_high_water();
  }
  for (std::int64_t pass = 0; pass < most; ++pass) {
    for (std::size_t i = 0; i < wants.size(); ++i) {
      if (wants[i] <= pass) draft.finish(static_cast<std::int64_t>(i));
    }
    draft_pass();
  }
}

void Guesser::draft_pass() {
  Scheduler& draft = *draft_scheduler_;
  const Pass* const pass = draft.next();
  VRAMPLAN_CHECK(pass != nullptr);
  TensorView logits = parts_.draft->forward(*pass);
  std::vector<std::int32_t> tokens(pass->sampled.size(), 0);
  Said says;
  if (draft_sampler_ != nullptr) {
    says = said(*parts_.draft, logits, static_cast<std::int64_t>(tokens.size()));
  }
  if (parts_.after_draft_pass) parts_.after_draft_pass(*pass);
  for (std::size_t row = 0; row < tokens.size(); ++row) {
    const std::int64_t sequence = pass->sampled[row];
    const auto i = static_cast<std::size_t>(sequence);
    if (draft_sampler_ != nullptr) {
      const auto step = static_cast<std::int64_t>(draft.generated(sequence).size());
      const auto at = static_cast<std::int64_t>(row);
      tokens[row] = token_of(*draft_sampler_, says, at, sequence, step);
      if (pass->phase == Phase::kDecode && draft_sampler_->sampling().temperature > 0) {
        drawn_from_[i].push_back(distribution(says, at, sequence, step));
      }
    }
    if (pass->phase == Phase::kDecode) guesses_[i].push_back(tokens[row]);
  }
  parts_.draft->give_back(logits);
  draft.complete(tokens);
}

Guesser::Said Guesser::said(RankEngine& engine, const TensorView& logits, std::int64_t rows) {
  const bool gpu = engine.gpu() != nullptr;
  if (gpu && rows > 0 && parts_.sampler->sampling().temperature == 0) {
    return {engine.draw(logits, 0, rows, {}, {}), nullptr, logits.columns};
  }
  if (!gpu || rows == 0) {
    engine.wait();
    return {{}, static_cast<const float*>(logits.data), logits.columns};
  }
  read_.resize(static_cast<std::size_t>(rows * logits.columns));
  engine.backend().read(read_.data(), logits.data, Bytes{4} * (rows * logits.columns));
  return {{}, read_.data(), logits.columns};
}

std::int32_t Guesser::token_of(const Sampler& sampler, const Said& said, std::int64_t row,
                               std::int64_t sequence, std::int64_t step) const {
  if (said.values == nullptr) return said.tokens[static_cast<std::size_t>(row)];
  const auto* const values = said.values + row * said.columns;
  return sampler.sample(std::span(values, static_cast<std::size_t>(parts_.vocab)), sequence, step);
}

Distribution Guesser::distribution(const Said& said, std::int64_t row, std::int64_t sequence,
                                   std::int64_t step) const {
  const Sampling& sampling = parts_.sampler->sampling();
  // Also where tokens are drawn: it looks for logits that are no numbers.
  const std::int32_t token = token_of(*parts_.sampler, said, row, sequence, step);
  if (sampling.temperature == 0) return {{token, 1.0}};
  const auto* const values = said.values + row * said.columns;
  return nucleus(std::span(values, static_cast<std::size_t>(parts_.vocab)), sampling.temperature,
                 sampling.top_p);
}

std::vector<std::int32_t> Guesser::keep_by_chance(std::int64_t sequence, std::int64_t asked,
                                                  std::int64_t step) const {
  SplitMix64 rng = rng_of(parts_.decisions.seed, sequence, step);
  std::size_t kept = 0;
  while (kept < static_cast<std::size_t>(asked) &&
         rng.uniform() < parts_.decisions.speculation.acceptance) {
    ++kept;
  }
  return std::vector<std::int32_t>(kept + 1, 0);
}

std::vector<std::vector<std::int32_t>> Guesser::keep(RankEngine& engine, const Pass& pass,
                                                     const TensorView& logits,
                                                     const Scheduler& scheduler) {
  Said says;
  if (parts_.sampler != nullptr) {
    says = said(engine, logits, static_cast<std::int64_t>(pass.logit_rows.size()));
  }
  std::vector<std::vector<std::int32_t>> made;
  std::int64_t row = 0;
  for (const std::int64_t sequence : pass.sequences) {
    const auto i = static_cast<std::size_t>(sequence);
    const auto step = static_cast<std::int64_t>(scheduler.generated(sequence).size());
    const auto asked = static_cast<std::int64_t>(guesses_[i].size());
    if (parts_.sampler == nullptr) {
      made.push_back(keep_by_chance(sequence, asked, step));
    } else {
      std::vector<Distribution> model;
      for (std::int64_t k = 0; k <= asked; ++k) {
        model.push_back(distribution(says, row + k, sequence, step + k));
      }
      SplitMix64 rng = rng_of(parts_.sampler->sampling().seed, sequence, step);
      made.push_back(
          keep_guesses(guesses_[i], model, drawn_from_[i], [&rng] { return rng.uniform(); }));
    }
    row += asked + 1;
    ++counts_.steps;
    counts_.asked += asked;
    const auto kept = static_cast<std::int64_t>(made.back().size()) - 1;
    counts_.accepted += kept;
    counts_.tested += std::min(kept + 1, asked);
    counts_.tokens += kept + 1;
  }
  return made;
}

void refuse_guesses(const ModelSource& source, const Decisions& decisions) {
  const GuessDecision& guesses = decisions.speculation;
  if (!guesses.any()) return;
  if (guesses.tokens < 1 || !(guesses.acceptance >= 0 && guesses.acceptance <= 1)) {
    throw Error(ErrorCode::kUsage, "a number of guesses or a share of them that cannot be")
        .at("", "speculation");
  }
  const auto refuse = [](const char* what, const char* help) {
    throw Error(ErrorCode::kUnsupported, what).at("", "--speculate").help(help);
  };
  const bool all = std::all_of(
      source.card.layers.begin(), source.card.layers.end(),
      [&](const Layer& layer) { return keep_of(decisions, layer.mixer.window_tokens).all(); });
  if (!all || decisions.kv_residual.any() || decisions.samples > 1 || decisions.beam_search ||
      decisions.shared_prefix.n > 0 || decisions.preempt != Preempt::kNone ||
      decisions.kv_layout != KvLayout::kPaged || decisions.kv_placement != KvPlacement::kDevice ||
      decisions.weight_offload.layers > 0 || decisions.activation_offload ||
      decisions.attention == AttentionAlgorithm::kNaive || decisions.sharding.ranks() > 1) {
    refuse("speculative decoding with this cache, placement, attention or sharing",
           "a paged cache on the device that keeps every token");
  }
  if (guesses.guess != Guess::kDraft) return;
  if (source.draft == nullptr || card_hash(source.draft->card) != guesses.draft_hash) {
    throw Error(ErrorCode::kStalePlan, "the draft model is not the one the plan was made with")
        .at(guesses.draft, "--draft")
        .help("plan again");
  }
}

}  // namespace vramplan
