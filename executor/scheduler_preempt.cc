// Part of Scheduler: what happens when the blocks do not suffice for all sequences.
#include <algorithm>

#include "executor/scheduler.h"

namespace vramplan {

std::int64_t Scheduler::known_tokens(const Sequence& sequence) const {
  return static_cast<std::int64_t>(sequence.prompt.size() + sequence.generated.size());
}

/// Blocks that only the prefix cache holds go before a sequence has to.
bool Scheduler::has_free(std::int64_t blocks) {
  const BlockPool& pool = *caches_.front().pool;
  while (pool.free().n < blocks && prefixes_ && prefixes_->evict_one()) {
  }
  return pool.free().n >= blocks;
}

/// In order: the first that neither runs nor is done begins, or comes back, when it leaves every
/// other a block to go on with. One prefill at a time.
void Scheduler::admit() {
  for (;;) {
    std::int64_t running = 0;
    for (const Sequence& sequence : sequences_) {
      if (sequence.running && sequence.cached < sequence.prefill_to) return;
      running += sequence.running ? 1 : 0;
    }
    const auto next = std::find_if(sequences_.begin(), sequences_.end(),
                                   [](const Sequence& s) { return !s.running && !s.finished; });
    if (next == sequences_.end()) return;
    const std::int64_t needed =
        blocks_for(Tokens{known_tokens(*next) + 1}, options_.block).n + running;
    if (!has_free(needed)) return;
    next->running = true;
    if (!next->swapped.empty()) come_back(*next);
  }
}

void Scheduler::come_back(Sequence& sequence) {
  const Cache& cache = caches_.front();
  BlockTable& table = sequence.tables.front();
  table.grow_to(Tokens{sequence.cached});
  for (std::size_t i = 0; i < sequence.swapped.size(); ++i) {
    pass_.groups.front().swap_in.push_back({sequence.swapped[i], table.blocks()[i]});
    cache.host->give_back(sequence.swapped[i]);
  }
  preemption_.moved += Blocks{static_cast<std::int64_t>(sequence.swapped.size())};
  sequence.swapped.clear();
}

/// The running sequence that came last gives its blocks away until this one has its next; it may be
/// the one.
void Scheduler::make_room(const Sequence& sequence) {
  if (options_.preempt == Preempt::kNone && !prefixes_) return;
  const BlockTable& table = sequence.tables.front();
  const std::int64_t needed = blocks_for(Tokens{sequence.cached + 2}, options_.block).n -
                              static_cast<std::int64_t>(table.block_count());
  while (!has_free(needed) && options_.preempt != Preempt::kNone && sequence.running) {
    const auto last = std::find_if(sequences_.rbegin(), sequences_.rend(),
                                   [](const Sequence& s) { return s.running; });
    preempt(*last);
  }
}

void Scheduler::preempt(Sequence& sequence) {
  BlockTable& table = sequence.tables.front();
  ++preemption_.preempted;
  if (options_.preempt == Preempt::kSwap) {
    const std::int64_t used = blocks_for(Tokens{sequence.cached}, options_.block).n;
    for (std::int64_t i = 0; i < used; ++i) {
      sequence.swapped.push_back(caches_.front().host->take());
      pass_.groups.front().swap_out.push_back({table.blocks()[i], sequence.swapped.back()});
    }
    preemption_.moved += Blocks{used};
  } else {
    preemption_.recomputed += Tokens{sequence.cached};
    sequence.prefill_to = known_tokens(sequence);
    sequence.cached = 0;
  }
  sequence.running = false;
  table.clear();
}

}  // namespace vramplan
