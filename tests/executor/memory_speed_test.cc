#include "executor/memory_speed.h"

#include <gtest/gtest.h>

#include <vector>

namespace vramplan {
namespace {

/// Every look at it is `step` seconds after the one before.
class SteppingClock final : public Clock {
 public:
  explicit SteppingClock(double step) : step_(step) {}
  Seconds now() const override { return {step_ * static_cast<double>(looks_++)}; }

 private:
  double step_;
  mutable int looks_ = 0;
};

TEST(MemorySpeed, IsBytesOverTheTimeOfOneReading) {
  const std::vector<std::byte> data(1000, std::byte{1});
  EXPECT_DOUBLE_EQ(reading_bytes_per_s(data, 3, SteppingClock(0.5), 5), 2000);
}

TEST(MemorySpeed, NothingReadHasNoRate) {
  EXPECT_EQ(reading_bytes_per_s({}, 2, SteppingClock(0.5), 5), 0);
  const std::vector<std::byte> data(64, std::byte{1});
  EXPECT_EQ(reading_bytes_per_s(data, 1, SteppingClock(0), 3), 0) << "a clock that stands";
  EXPECT_EQ(reading_bytes_per_s(data, 1, SteppingClock(1), 0), 0);
}

}  // namespace
}  // namespace vramplan
