#pragma once
// LinkClock: transfers one after another over a link, on a virtual clock: they go on while a pass
// computes, at a share of the link's speed.
#include <algorithm>

#include "executor/clock.h"

namespace vramplan {

class LinkClock {
 public:
  /// `overlap`: that share, 0..1.
  LinkClock(VirtualClock& clock, double overlap)
      : clock_(&clock), overlap_(overlap), seen_(clock.now().v) {}

  /// When a transfer that takes `seconds` of the link will be done, on the link's own clock; behind
  /// those that were pushed before.
  double push(double seconds) {
    catch_up();
    return free_ = std::max(free_, now_) + seconds;
  }
  /// Waits on the virtual clock for a moment of the link's; the seconds waited.
  double wait_until(double moment) {
    catch_up();
    const double missing = std::max(0.0, moment - now_);
    clock_->advance({missing});
    now_ += missing;
    seen_ = clock_->now().v;
    return missing;
  }
  /// Waits for all transfers.
  double drain() { return wait_until(free_); }

 private:
  void catch_up() {
    const double now = clock_->now().v;
    now_ += overlap_ * (now - seen_);
    seen_ = now;
  }

  VirtualClock* clock_;
  double overlap_;
  double seen_;                // of the virtual clock
  double now_ = 0, free_ = 0;  // of the link
};

}  // namespace vramplan
