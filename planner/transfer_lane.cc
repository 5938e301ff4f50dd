#include "planner/transfer_lane.h"

#include <algorithm>
#include <limits>

namespace vramplan {
namespace {

double over(double seconds, double speed) {
  return speed > 0 ? seconds / speed : std::numeric_limits<double>::infinity();
}

}  // namespace

void TransferLane::wait(double transfer) {
  const double missing = std::max(0.0, transfer - done_);
  now_ += missing;
  done_ += missing;
}

void TransferLane::compute(double seconds) {
  const double busy = asked_ - done_;
  if (seconds > 0 && busy > 0) {
    const double both = std::min(over(seconds, speeds_.computing), over(busy, speeds_.transfer));
    now_ += both;
    done_ = std::min(asked_, done_ + both * speeds_.transfer);
    seconds = std::max(0.0, seconds - both * speeds_.computing);
  }
  now_ += seconds;
}

}  // namespace vramplan
