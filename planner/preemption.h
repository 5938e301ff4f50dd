#pragma once
// Preemption: what happens when the blocks do not suffice for all sequences at once, replayed by
// counting blocks. The scheduler's rules, in planner/README.md, are followed here without its code.
#include <map>
#include <vector>

#include "planner/decisions.h"
#include "planner/ledger.h"

namespace vramplan {

struct PreemptionForecast {
  PreemptionCounts counts;
  Blocks most_held, most_swapped;                 // on the device, and beyond it
  std::int64_t most_running = 0;                  // sequences that decode together
  std::int64_t steps = 0;                         // decode steps of the run
  std::int64_t step_tokens = 0;                   // tokens that they make
  std::map<std::int64_t, std::int64_t> steps_of;  // how many steps had so many sequences
  /// Rows of those steps on a GPU that captures them, of `most` sequences, and how many had each.
  std::map<std::int64_t, std::int64_t> captured_steps(std::int64_t most) const;
};

/// `decisions.kv_blocks` is the pool, at least ceil(context / block). Errors: kUnsupported for a
/// run of too many steps to replay.
PreemptionForecast replay_preemption(const Decisions& decisions);

/// The same pool, or the part of it that is ever held: a run with that one is the same run.
Decisions with_pool(Decisions decisions, Blocks pool);

/// Seconds that preemption costs in the whole run: blocks over the link to the host, or tokens at
/// `prefill_token` seconds each.
struct PreemptionPrices {
  Bytes block_bytes;
  double link_bytes_per_s = 0, link_latency_s = 0, prefill_token_s = 0;
};
Seconds preemption_seconds(const PreemptionForecast& forecast, const PreemptionPrices& prices);

}  // namespace vramplan
