#include "executor/link_clock.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

TEST(LinkClock, ATransferGoesOnAtItsShareWhileAPassComputes) {
  VirtualClock clock;
  LinkClock link(clock, {0.25, 1});
  const double done = link.push(3);
  clock.advance({4});  // one of the three seconds
  EXPECT_DOUBLE_EQ(link.wait_until(done), 2);
  EXPECT_DOUBLE_EQ(clock.now().v, 6);
  EXPECT_DOUBLE_EQ(link.wait_until(done), 0);
}

TEST(LinkClock, OneTransferAfterAnother) {
  VirtualClock clock;
  LinkClock link(clock, {});
  link.push(1);
  const double second = link.push(2);
  EXPECT_DOUBLE_EQ(link.wait_until(second), 3);
  clock.advance({5});
  link.push(1);  // begins now, not when the link became free
  EXPECT_DOUBLE_EQ(link.drain(), 1);
}

// A second of computing takes two beside a transfer: of four that were computed two met it.
TEST(LinkClock, ComputingTakesLongerBesideATransfer) {
  VirtualClock clock;
  LinkClock link(clock, {1, 0.5});
  const double done = link.push(4);
  clock.advance({3});
  EXPECT_DOUBLE_EQ(link.wait_until(done), 0);
  EXPECT_DOUBLE_EQ(clock.now().v, 5) << "two of the three beside it, in four; one alone";
}

TEST(LinkClock, WithoutOverlapAllIsAddedUp) {
  for (const SharedSpeeds speeds : {SharedSpeeds{0, 1}, {1, 0}, {0.5, 0.5}}) {
    VirtualClock clock;
    LinkClock link(clock, speeds);
    const double done = link.push(3);
    clock.advance({100});
    link.wait_until(done);
    EXPECT_DOUBLE_EQ(clock.now().v, 103);
  }
}

}  // namespace
}  // namespace vramplan
