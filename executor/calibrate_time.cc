#include <algorithm>
#include <utility>

#include "executor/calibrate_ops.h"

namespace vramplan {
namespace {

constexpr double kBatchSeconds = 1e-4;  // well above the resolution of a clock

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
  std::vector<double> seconds;
  const double begin = clock.now().v;
  for (int i = 0; i < effort.most_repetitions; ++i) {
    seconds.push_back(timed(batch));
    const bool long_enough = clock.now().v - begin > effort.point_seconds;
    if (long_enough && i + 1 >= effort.least_repetitions) break;
  }
  return median_of(std::move(seconds));
}

}  // namespace vramplan
