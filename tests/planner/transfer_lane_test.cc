#include "planner/transfer_lane.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

/// Of a transfer of d seconds and c of computing, begun together.
double together(SharedSpeeds speeds, double d, double c) {
  TransferLane lane(speeds);
  const double all = lane.begin(d);
  lane.compute(c);
  lane.wait(all);
  return lane.now();
}

TEST(TransferLane, ALinkOfItsOwnHidesTheShorter) {
  EXPECT_DOUBLE_EQ(together({}, 3, 1), 3);
  EXPECT_DOUBLE_EQ(together({}, 1, 3), 3);
}

// What was timed beside a disk: max(d, c + (1 - o) d).
TEST(TransferLane, ADiskTakesFromWhatComputes) {
  const SharedSpeeds disk{1, 0.62};
  EXPECT_NEAR(together(disk, 1, 0.33), 1, 1e-12);
  EXPECT_NEAR(together(disk, 1, 1), 1.38, 1e-12);
  EXPECT_NEAR(together(disk, 1, 3), 3.38, 1e-12);
}

// Half of the shorter is hidden.
TEST(TransferLane, CopiesAndComputingSlowEachOther) {
  const SharedSpeeds copies{1 / 1.5, 1 / 1.5};
  EXPECT_NEAR(together(copies, 1, 1), 1.5, 1e-12);
  EXPECT_NEAR(together(copies, 1, 0.25), 1.125, 1e-12);
  EXPECT_NEAR(together(copies, 0.25, 1), 1.125, 1e-12);
}

TEST(TransferLane, OneTransferAfterAnother) {
  TransferLane lane({});
  const double first = lane.begin(1);
  lane.begin(2);
  lane.wait(first);
  EXPECT_DOUBLE_EQ(lane.now(), 1);
  lane.wait_for_all();
  EXPECT_DOUBLE_EQ(lane.now(), 3);
  lane.compute(5);
  lane.wait(lane.begin(1));
  EXPECT_DOUBLE_EQ(lane.now(), 9) << "begun when asked for, not when the lane became free";
}

}  // namespace
}  // namespace vramplan
