#include "planner/text.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

TEST(Text, NumbersAreGroupedByThousands) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(327'680), "327,680");
  EXPECT_EQ(grouped(-1'234'567), "-1,234,567");
  EXPECT_EQ(exact(Bytes{10'737'418'240}), "10,737,418,240 B");
}

}  // namespace
}  // namespace vramplan
