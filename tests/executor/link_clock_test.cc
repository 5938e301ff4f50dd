#include "executor/link_clock.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

TEST(LinkClock, ATransferGoesOnAtItsShareWhileAPassComputes) {
  VirtualClock clock;
  LinkClock link(clock, 0.25);
  const double done = link.push(3);
  clock.advance({4});  // one of the three seconds
  EXPECT_DOUBLE_EQ(link.wait_until(done), 2);
  EXPECT_DOUBLE_EQ(clock.now().v, 6);
  EXPECT_DOUBLE_EQ(link.wait_until(done), 0);
}

TEST(LinkClock, OneTransferAfterAnother) {
  VirtualClock clock;
  LinkClock link(clock, 1);
  link.push(1);
  const double second = link.push(2);
  EXPECT_DOUBLE_EQ(link.wait_until(second), 3);
  clock.advance({5});
  link.push(1);  // begins now, not when the link became free
  EXPECT_DOUBLE_EQ(link.drain(), 1);
}

TEST(LinkClock, WithoutOverlapAllIsWaitedFor) {
  VirtualClock clock;
  LinkClock link(clock, 0);
  const double done = link.push(3);
  clock.advance({100});
  EXPECT_DOUBLE_EQ(link.wait_until(done), 3);
}

}  // namespace
}  // namespace vramplan
