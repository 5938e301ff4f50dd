// Of the scheduler: passes that ask about guesses, and sequences that are set back to what is true.
#include <algorithm>
#include <utility>

#include "executor/scheduler.h"

namespace vramplan {

void Scheduler::guess(std::int64_t sequence, std::vector<std::int32_t> tokens) {
  for (const Cache& cache : caches_) VRAMPLAN_CHECK(cache.keep.all());
  VRAMPLAN_CHECK(options_.samples == 1 && options_.preempt == Preempt::kNone);
  Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
  VRAMPLAN_CHECK(!s.generated.empty());
  s.guesses = std::move(tokens);
}

/// Tokens that are not in the cache: what a decode pass has rows for.
std::int64_t Scheduler::unseen(const Sequence& sequence) const {
  return known_tokens(sequence) + static_cast<std::int64_t>(sequence.guesses.size()) -
         sequence.cached;
}

void Scheduler::complete_guesses(std::span<const std::vector<std::int32_t>> made) {
  VRAMPLAN_CHECK(pass_.phase == Phase::kDecode && made.size() == pass_.sequences.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    Sequence& sequence = sequences_[static_cast<std::size_t>(pass_.sequences[i])];
    VRAMPLAN_CHECK(!made[i].empty() && made[i].size() <= sequence.guesses.size() + 1);
    sequence.guesses.clear();
    for (const std::int32_t token : made[i]) {
      ++sequence.cached;
      sequence.generated.push_back(token);
      end_if_done(sequence);
      if (sequence.finished) break;
    }
  }
}

void Scheduler::rewrite(std::int64_t sequence, std::span<const std::int32_t> generated) {
  Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
  VRAMPLAN_CHECK(!generated.empty());
  s.generated.assign(generated.begin(), generated.end());
  s.finished = false;
  s.cached = std::min(s.cached, std::max<std::int64_t>(0, known_tokens(s) - 2));
  s.prefill_to = std::min(s.prefill_to, s.cached);
}

bool Scheduler::is_prefilled(std::int64_t sequence) const {
  const Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
  return s.cached >= s.prefill_to;
}

bool Scheduler::is_finished(std::int64_t sequence) const {
  return sequences_[static_cast<std::size_t>(sequence)].finished;
}

std::vector<std::int32_t> Scheduler::tokens_of(std::int64_t sequence) const {
  const Sequence& s = sequences_[static_cast<std::size_t>(sequence)];
  std::vector<std::int32_t> tokens = s.prompt;
  tokens.insert(tokens.end(), s.generated.begin(), s.generated.end());
  return tokens;
}

}  // namespace vramplan
