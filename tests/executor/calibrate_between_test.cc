#include "executor/calibrate_between.h"

#include <gtest/gtest.h>

#include <vector>

#include "executor/backend.h"

namespace vramplan {
namespace {

/// A clock that goes on by a nanosecond whenever somebody looks.
class CountingClock final : public Clock {
 public:
  Seconds now() const override { return {1e-9 * static_cast<double>(++looks_)}; }

 private:
  mutable std::int64_t looks_ = 0;
};

TEST(CalibrateBetween, IsWhatAPassTakesOutsideOfItsOperations) {
  const auto backend = make_cpu_backend(1, 64_MiB);
  const std::vector<std::byte> memory(1 << 20);
  // Two looks an operation: one nanosecond inside of it, and one outside until the next begins.
  EXPECT_NEAR(measure_between(backend->ops(), CountingClock(), memory, 3), 1e-9, 2e-11);
}

TEST(CalibrateBetween, AClockThatStandsStillShowsNothing) {
  const auto backend = make_cpu_backend(1, 64_MiB);
  EXPECT_EQ(measure_between(backend->ops(), VirtualClock(), {}, 3), 0);
}

TEST(CalibrateBetween, OnThisMachineItIsBelowTwentyMicroseconds) {
  const auto backend = make_cpu_backend(1, 64_MiB);
  const double seconds = measure_between(backend->ops(), SteadyClock(), {}, 9);
  EXPECT_GT(seconds, 1e-9);
  EXPECT_LT(seconds, 2e-5);
}

}  // namespace
}  // namespace vramplan
