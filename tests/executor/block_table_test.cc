#include "executor/block_table.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

TEST(BlockTable, GrowsByWholeBlocksAndMapsTokensToSlots) {
  auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, Blocks{8}, 1_KiB);
  const std::int32_t other = pool.take();
  BlockTable table(pool, TokensPerBlock{16});
  table.grow_to(Tokens{16});
  EXPECT_EQ(table.block_count(), 1U);
  table.grow_to(Tokens{17});
  EXPECT_EQ(table.block_count(), 2U);
  table.grow_to(Tokens{3});
  EXPECT_EQ(table.block_count(), 2U);
  EXPECT_EQ(other, 0);
  EXPECT_EQ(table.slot(0), 16);
  EXPECT_EQ(table.slot(17), 33);
  EXPECT_DEATH(table.slot(32), "does not hold");
  table.clear();
  EXPECT_EQ(pool.held(), Blocks{1});
}

TEST(BlockTable, KeepsWhatItGotWhenThePoolRunsOut) {
  auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, Blocks{2}, 1_KiB);
  {
    BlockTable table(pool, TokensPerBlock{4});
    EXPECT_THROW(table.grow_to(Tokens{9}), Error);
    EXPECT_EQ(table.block_count(), 2U);
    BlockTable moved(std::move(table));
    EXPECT_EQ(moved.block_count(), 2U);
  }
  EXPECT_EQ(pool.held(), Blocks{0});
  pool.check_integrity();
}

}  // namespace
}  // namespace vramplan
