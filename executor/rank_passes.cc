// Drives one rank through the passes of a scheduler.
#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "executor/guesser.h"
#include "executor/rank_run.h"

namespace vramplan {
namespace {

/// Draws of the rows a pass samples on the device: the ones the sampler would draw on the host.
std::vector<float> draws(const Pass& pass, const Scheduler& scheduler, const RunHooks& hooks) {
  std::vector<float> uniform;
  if (hooks.sampler == nullptr || hooks.sampler->sampling().temperature == 0) return uniform;
  for (const std::int64_t sequence : pass.sampled) {
    const auto step = static_cast<std::int64_t>(scheduler.generated(sequence).size());
    const auto draw = static_cast<float>(hooks.sampler->draw(sequence, step));
    uniform.push_back(std::min(draw, std::nextafter(1.0F, 0.0F)));
  }
  return uniform;
}

/// Tokens of the rows a pass sampled; zeros where nothing is computed. Waits for the pass.
std::vector<std::int32_t> sample(RankEngine& engine, const Pass& pass, const TensorView& logits,
                                 const Scheduler& scheduler, const RunHooks& hooks) {
  std::vector<std::int32_t> tokens(pass.sampled.size(), 0);
  if (hooks.charge_sampling && logits.rows > 0)
    hooks.charge_sampling(static_cast<std::int64_t>(tokens.size()));
  if (engine.gpu() != nullptr && !tokens.empty() && logits.data != nullptr) {
    const Sampling sampling = hooks.sampler != nullptr ? hooks.sampler->sampling() : Sampling{};
    return engine.sample(pass, logits, sampling, draws(pass, scheduler, hooks));
  }
  engine.wait();
  if (hooks.sampler == nullptr) return tokens;
  // Rows wanted besides the sampled ones come first: the last row of each sequence is sampled.
  const std::size_t first = pass.logit_rows.size() - pass.sampled.size();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto* row = static_cast<const float*>(logits.data) +
                      static_cast<std::ptrdiff_t>(first + i) * logits.columns;
    const std::int64_t sequence = pass.sampled[i];
    const auto step = static_cast<std::int64_t>(scheduler.generated(sequence).size());
    tokens[i] = hooks.sampler->sample(std::span(row, static_cast<std::size_t>(hooks.vocab)),
                                      sequence, step);
  }
  return tokens;
}

/// Tokens of a pass and, with beams, whose tokens each sequence goes on from.
struct Drawn {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> parents;
};

/// All beams of a prompt are in a pass together, or none.
Drawn advance_beams(RankEngine& engine, const Pass& pass, const TensorView& logits,
                    const RunHooks& hooks) {
  Drawn drawn;
  const std::int64_t beams = hooks.beams->front().beam_count();
  const std::size_t first = pass.logit_rows.size() - pass.sampled.size();
  const auto* sampled =
      static_cast<const float*>(logits.data) + static_cast<std::ptrdiff_t>(first) * logits.columns;
  std::vector<float> read;  // from a GPU
  if (engine.gpu() != nullptr) {
    read.resize(pass.sampled.size() * static_cast<std::size_t>(logits.columns));
    engine.backend().read(read.data(), sampled, {static_cast<std::int64_t>(4 * read.size())});
    sampled = read.data();
  } else {
    engine.wait();
  }
  for (std::size_t i = 0; i < pass.sampled.size(); i += static_cast<std::size_t>(beams)) {
    const auto* rows = sampled + static_cast<std::ptrdiff_t>(i) * logits.columns;
    const std::int64_t prompt = pass.sampled[i] / beams;
    BeamSearch& search = (*hooks.beams)[static_cast<std::size_t>(prompt)];
    for (const BeamStep& step : search.advance(rows, logits.columns, hooks.vocab)) {
      drawn.tokens.push_back(step.token);
      drawn.parents.push_back(prompt * beams + step.parent);
    }
  }
  return drawn;
}

void finish_searches(const Pass& pass, Scheduler& scheduler, const std::vector<BeamSearch>& beams) {
  for (const std::int64_t sequence : pass.sampled) {
    const BeamSearch& search =
        beams[static_cast<std::size_t>(sequence / beams.front().beam_count())];
    if (search.done()) scheduler.finish(sequence);
  }
}

void add_to_trace(Trace& trace, RankEngine& engine, const Pass& pass, Seconds begin, Seconds end) {
  const char* const phase = pass.phase == Phase::kPrefill ? "prefill chunk " : "decode step ";
  trace.add({TraceTrack::kCompute, true, phase + std::to_string(pass.number), begin, end, {}});
  Bytes cache = engine.kv().held_bytes();
  if (engine.kv_stream() != nullptr) cache += engine.kv_stream()->staging_bytes();
  trace.add({end, engine.weights_arena().live(), cache, engine.activations().high_water()});
}

class PassRunner {
 public:
  PassRunner(RankEngine& engine, Scheduler& scheduler, const RunHooks& hooks)
      : engine_(engine), scheduler_(scheduler), hooks_(hooks), clock_(engine.backend().clock()) {}

  RankRun run() {
    Arena& activations = engine_.activations();
    activations.reset_high_water();
    engine_.backend().take_timings();  // of whoever used it before
    while (const Pass* pass = next()) {
      if (pass->phase != phase_) {  // with preemption they take turns
        note_peak();
        activations.reset_high_water();
        phase_ = pass->phase;
      }
      run_pass(*pass);
      if (hooks_.ends_only && phase_ == Phase::kDecode) scheduler_.skip_to_last_step();
    }
    note_peak();
    run_.preemption = scheduler_.preemption();
    if (hooks_.guesser != nullptr) run_.speculation = hooks_.guesser->counts();
    VRAMPLAN_CHECK(activations.tensor_count() == 0);
    return std::move(run_);
  }

 private:
  /// Guesses are a part of the step that asks about them.
  const Pass* next() {
    begin_ = clock_.now();
    if (hooks_.guesser == nullptr) {
      const Pass* const pass = scheduler_.next();
      begin_ = clock_.now();
      return pass;
    }
    bool decodes = true;
    for (std::int64_t i = 0; i < scheduler_.sequence_count(); ++i) {
      decodes = decodes && scheduler_.is_prefilled(i);
    }
    if (decodes) hooks_.guesser->guess(scheduler_);
    const Pass* const pass = scheduler_.next();
    if (pass != nullptr && pass->phase == Phase::kPrefill && !pass->sampled.empty()) {
      hooks_.guesser->prefill(pass->sequences.front());
    }
    return pass;
  }

  void note_peak() {
    Bytes& peak = phase_ == Phase::kPrefill ? run_.prefill_peak : run_.decode_peak;
    peak = std::max(peak, engine_.activations().high_water());
  }

  void run_pass(const Pass& pass) {
    TensorView logits = engine_.forward(pass);
    const Seconds sampling = clock_.now();
    const bool guesses = hooks_.guesser != nullptr && pass.phase == Phase::kDecode;
    std::vector<std::vector<std::int32_t>> made;
    Drawn drawn;
    if (guesses) {
      const auto asked = static_cast<std::int64_t>(pass.logit_rows.size());
      if (hooks_.charge_sampling) hooks_.charge_sampling(asked);
      made = hooks_.guesser->keep(engine_, pass, logits, scheduler_);
    } else if (hooks_.beams != nullptr && !pass.sampled.empty()) {
      drawn = advance_beams(engine_, pass, logits, hooks_);
    } else {
      drawn = {sample(engine_, pass, logits, scheduler_, hooks_), {}};
    }
    const Seconds end = clock_.now();
    add_timings();
    if (hooks_.on_logits) hooks_.on_logits(pass, logits);
    if (hooks_.after_pass) hooks_.after_pass(pass);
    engine_.give_back(logits);
    if (hooks_.trace != nullptr) add_to_trace(*hooks_.trace, engine_, pass, begin_, end);
    const auto slices = static_cast<std::int64_t>(pass.sequences.size());
    // A GPU's pass is waited for together with its tokens: one cannot be told from the other.
    const bool together = engine_.gpu() != nullptr && engine_.backend().computes();
    const double sampled = together ? 0 : (end - sampling).v;
    const auto rows = static_cast<std::int64_t>(pass.ids.size());
    const std::int64_t produced = guesses ? complete_guesses(pass, made) : complete(pass, drawn);
    run_.passes.push_back(
        {pass.phase, rows, produced, pass.sequences.front(), (end - begin_).v, sampled, slices});
  }

  void add_timings() {
    OpTimings timings = engine_.backend().take_timings();
    OpTimings& ops = phase_ == Phase::kPrefill ? run_.prefill_ops : run_.decode_ops;
    if (engine_.kv_stream() != nullptr && !timings.empty()) {
      timings["kv_stream"] = {1, engine_.kv_stream()->take_waited().v};
    }
    if (engine_.weight_stream() != nullptr && !timings.empty()) {
      timings["weight_stream"] = {1, engine_.weight_stream()->take_waited().v};
    }
    if (engine_.hidden_states() != nullptr && !timings.empty() && phase_ == Phase::kPrefill) {
      timings["hidden_states"] = {1, engine_.hidden_states()->take_moved().v};
    }
    for (const auto& [name, timing] : timings) {
      ops[name].calls += timing.calls;
      ops[name].seconds += timing.seconds;
    }
  }

  /// Tokens made. The pass is the scheduler's, and over when this returns.
  std::int64_t complete(const Pass& pass, const Drawn& drawn) {
    scheduler_.complete(drawn.tokens, drawn.parents);
    if (!drawn.parents.empty()) finish_searches(pass, scheduler_, *hooks_.beams);
    for (std::size_t i = 0; hooks_.on_token && i < drawn.tokens.size(); ++i) {
      hooks_.on_token(pass.sampled[i], drawn.tokens[i]);
    }
    return static_cast<std::int64_t>(drawn.tokens.size());
  }

  /// A token that ends a sequence may be among those that were kept: the rest are nobody's.
  std::int64_t complete_guesses(const Pass& pass,
                                const std::vector<std::vector<std::int32_t>>& made) {
    std::vector<std::size_t> before;
    for (const std::int64_t sequence : pass.sequences) {
      before.push_back(scheduler_.generated(sequence).size());
    }
    scheduler_.complete_guesses(made);
    std::int64_t produced = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      const std::int64_t sequence = pass.sequences[i];
      const std::vector<std::int32_t>& tokens = scheduler_.generated(sequence);
      for (std::size_t k = before[i]; k < tokens.size(); ++k, ++produced) {
        if (hooks_.on_token) hooks_.on_token(sequence, tokens[k]);
      }
    }
    return produced;
  }

  RankEngine& engine_;
  Scheduler& scheduler_;
  const RunHooks& hooks_;
  Clock& clock_;
  Phase phase_ = Phase::kPrefill;
  Seconds begin_;
  RankRun run_;
};

}  // namespace

RankRun run_passes(RankEngine& engine, Scheduler& scheduler, const RunHooks& hooks) {
  return PassRunner(engine, scheduler, hooks).run();
}

}  // namespace vramplan
