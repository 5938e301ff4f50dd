#pragma once
// LinkClock: transfers one after another over a link, on a virtual clock: they go on while a pass
// computes, and slow each other.
#include <algorithm>
#include <limits>

#include "executor/clock.h"
#include "modelcards/shared_speeds.h"

namespace vramplan {

class LinkClock {
 public:
  LinkClock(VirtualClock& clock, SharedSpeeds speeds)
      : clock_(&clock), speeds_(speeds), seen_(clock.now().v) {}

  /// A transfer that takes `seconds` of the link alone, behind those that were pushed before: the
  /// moment of the link's own clock, which stands while it has nothing to do, when it will be done.
  double push(double seconds) {
    catch_up();
    return asked_ += seconds;
  }
  /// Waits on the virtual clock for a moment of the link's; the seconds waited.
  double wait_until(double moment) {
    catch_up();
    const double missing = std::max(0.0, moment - done_);
    clock_->advance({missing});
    done_ += missing;
    seen_ = clock_->now().v;
    return missing;
  }
  /// Waits for all transfers.
  double drain() { return wait_until(asked_); }

 private:
  /// What the virtual clock went on since was computed at full speed: beside transfers it took
  /// longer.
  void catch_up() {
    const double computed = clock_->now().v - seen_;
    const double busy = asked_ - done_;
    if (computed > 0 && busy > 0) {
      const double both = std::min(over(computed, speeds_.computing), over(busy, speeds_.transfer));
      done_ = std::min(asked_, done_ + both * speeds_.transfer);
      clock_->advance({both * (1 - speeds_.computing)});
    }
    seen_ = clock_->now().v;
  }
  static double over(double seconds, double speed) {
    return speed > 0 ? seconds / speed : std::numeric_limits<double>::infinity();
  }

  VirtualClock* clock_;
  SharedSpeeds speeds_;
  double seen_;                  // of the virtual clock
  double asked_ = 0, done_ = 0;  // of the link: all that was pushed, and what of it is through
};

}  // namespace vramplan
