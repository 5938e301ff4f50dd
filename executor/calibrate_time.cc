#include <algorithm>
#include <utility>

#include "executor/calibrate_ops.h"

namespace vramplan {
namespace {

constexpr double kBatchSeconds = 1e-4;  // well above the resolution of a clock
constexpr int kLeastOfLong = 3;         // repetitions of calls that fill half of a point's time

/// How far the middle half lies apart, as a share of the median.
double spread_of(const std::vector<double>& seconds) {
  const double middle = median_of(seconds);
  if (middle <= 0) return 0;
  return (quantile_of(seconds, 0.75) - quantile_of(seconds, 0.25)) / middle;
}

}  // namespace

double time_call(const Clock& clock, const CalibrationEffort& effort,
                 const std::function<void(std::int64_t)>& call) {
  std::int64_t count = 0;
  const auto timed = [&](std::int64_t calls) {
    const double begin = clock.now().v;
    for (std::int64_t i = 0; i < calls; ++i) call(count++);
    return (clock.now().v - begin) / static_cast<double>(calls);
  };
  timed(1);  // first touch and thread start
  const double rough = timed(1);
  const double wanted = rough > 0 ? kBatchSeconds / rough : 1.0;
  const auto batch = static_cast<std::int64_t>(std::clamp(wanted, 1.0, 256.0));
  const bool is_long = rough > effort.point_seconds / 2;
  const int least =
      is_long ? std::min(kLeastOfLong, effort.least_repetitions) : effort.least_repetitions;
  std::vector<double> seconds;
  const double begin = clock.now().v;
  for (int i = 0; i < effort.most_repetitions; ++i) {
    seconds.push_back(timed(batch));
    const bool long_enough = clock.now().v - begin > effort.point_seconds;
    if (i + 1 >= least && (long_enough || spread_of(seconds) < effort.spread)) break;
  }
  return median_of(std::move(seconds));
}

}  // namespace vramplan
