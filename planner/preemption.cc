#include "planner/preemption.h"

#include <algorithm>

namespace vramplan {
namespace {

constexpr std::int64_t kMostTurns = std::int64_t{1} << 26;  // of sequences, a second or so

class Replay {
 public:
  explicit Replay(const Decisions& d)
      : d_(d),
        prompt_((d.context - d.output).n),
        free_(d.kv_blocks.n),
        sequences_(static_cast<std::size_t>(d.batch)) {}

  PreemptionForecast run() {
    do {
      while (admit()) {
      }
    } while (step());
    return out_;
  }

 private:
  struct Sequence {
    std::int64_t cached = 0, made = 0, held = 0;
    bool running = false, finished = false, swapped = false;
  };

  std::int64_t blocks(std::int64_t tokens) const { return ceil_div(tokens, d_.block.n); }
  void hold(Sequence& s, std::int64_t count) {
    free_ -= count - s.held;
    s.held = count;
    out_.most_held = std::max(out_.most_held, d_.kv_blocks - Blocks{free_});
  }
  void swap(std::int64_t count) {
    swapped_ += count;
    out_.counts.moved += Blocks{count < 0 ? -count : count};
    out_.most_swapped = std::max(out_.most_swapped, Blocks{swapped_});
  }
  void made_one(Sequence& s) {
    ++s.made;
    if (s.made < d_.output.n) return;
    s.finished = true;
    s.running = false;
    --running_;
  }

  /// The first that neither runs nor is done begins, or comes back, when it leaves every other a
  /// block to go on with.
  bool admit() {
    const auto next = std::find_if(sequences_.begin(), sequences_.end(),
                                   [](const Sequence& s) { return !s.running && !s.finished; });
    if (next == sequences_.end()) return false;
    Sequence& s = *next;
    const std::int64_t known = prompt_ + s.made;
    if (free_ < blocks(known + 1) + running_) return false;
    s.running = true;
    ++running_;
    if (s.swapped) {
      hold(s, blocks(s.cached));
      swap(-s.held);
      s.swapped = false;
      return true;
    }
    hold(s, blocks(known + 1));  // prefilled at once: nobody else runs before it is done
    s.cached = known;
    made_one(s);
    if (s.finished) hold(s, 0);
    return true;
  }

  void preempt(Sequence& s) {
    ++out_.counts.preempted;
    hold(s, 0);
    s.running = false;
    --running_;
    if (d_.preempt == Preempt::kSwap) {
      s.swapped = true;
      swap(blocks(s.cached));
    } else {
      out_.counts.recomputed += Tokens{s.cached};
      s.cached = 0;
    }
  }

  bool step() {
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      Sequence& s = sequences_[i];
      while (s.running && free_ < blocks(s.cached + 2) - s.held) {
        const auto last = std::find_if(sequences_.rbegin(), sequences_.rend(),
                                       [](const Sequence& other) { return other.running; });
        preempt(*last);
      }
      if (s.running) hold(s, blocks(s.cached + 2));
      if (++turns_ > kMostTurns) {
        throw Error(ErrorCode::kUnsupported, "preemption in a run of this many steps")
            .at("", "--preempt")
            .help("plan with less --batch or --output-tokens");
      }
    }
    if (running_ == 0) return false;
    out_.most_running = std::max(out_.most_running, running_);
    ++out_.steps;
    out_.step_tokens += running_;
    ++out_.steps_of[running_];
    for (Sequence& s : sequences_) {
      if (!s.running) continue;
      ++s.cached;
      made_one(s);
      if (s.finished) hold(s, 0);
    }
    return true;
  }

  const Decisions& d_;
  std::int64_t prompt_, free_;
  std::int64_t running_ = 0, swapped_ = 0, turns_ = 0;
  std::vector<Sequence> sequences_;
  PreemptionForecast out_;
};

}  // namespace

std::map<std::int64_t, std::int64_t> PreemptionForecast::captured_steps(std::int64_t most) const {
  std::map<std::int64_t, std::int64_t> captured;
  for (const auto& [sequences, count] : steps_of) captured[captured_rows(sequences, most)] += count;
  return captured;
}

PreemptionForecast replay_preemption(const Decisions& decisions) {
  VRAMPLAN_CHECK(decisions.kv_blocks >= blocks_for(decisions.context, decisions.block));
  return Replay(decisions).run();
}

Decisions with_pool(Decisions decisions, Blocks pool) {
  decisions.kv_blocks = pool;
  PreemptionForecast forecast = replay_preemption(decisions);
  while (forecast.most_held < decisions.kv_blocks) {
    decisions.kv_blocks = forecast.most_held;
    forecast = replay_preemption(decisions);
  }
  decisions.swap_blocks = forecast.most_swapped;
  return decisions;
}

Seconds preemption_seconds(const PreemptionForecast& forecast, const PreemptionPrices& prices) {
  const auto blocks = static_cast<double>(forecast.counts.moved.n);
  double seconds = static_cast<double>(forecast.counts.recomputed.n) * prices.prefill_token_s;
  if (blocks > 0) {
    seconds += blocks * (prices.link_latency_s +
                         static_cast<double>(prices.block_bytes.n) / prices.link_bytes_per_s);
  }
  return {seconds};
}

}  // namespace vramplan
