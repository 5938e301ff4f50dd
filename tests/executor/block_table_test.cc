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

TEST(BlockTable, WhatFellBehindIsGivenBackAndTheRestClosesUp) {
  auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, Blocks{8}, 1_KiB);
  BlockTable table(pool, TokensPerBlock{4});
  table.grow_to(Tokens{14});
  table.release_before(Tokens{7});  // block 1 still holds token 7
  EXPECT_EQ(pool.held(), Blocks{3});
  EXPECT_EQ(table.released(), Tokens{4});
  EXPECT_EQ(table.index(9), 5);
  EXPECT_EQ(table.slot(9), 9);
  EXPECT_DEATH(table.index(3), "does not hold");
  table.release_before(Tokens{7});
  table.release_before(Tokens{2});
  EXPECT_EQ(table.block_count(), 3U);
  table.grow_to(Tokens{17});
  EXPECT_EQ(table.slot(16), 0);  // the block that came back is taken again
  EXPECT_EQ(table.blocks()[0], 1);
}

TEST(BlockTable, SinksStay) {
  auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, Blocks{8}, 1_KiB);
  BlockTable table(pool, TokensPerBlock{4}, Tokens{5});  // two blocks
  table.grow_to(Tokens{20});
  table.release_before(Tokens{7});
  EXPECT_EQ(pool.held(), Blocks{5});
  table.release_before(Tokens{16});
  EXPECT_EQ(pool.held(), Blocks{3});
  EXPECT_EQ(table.index(7), 7);
  EXPECT_EQ(table.index(17), 9);
  EXPECT_DEATH(table.index(8), "does not hold");
  table.clear();
  EXPECT_EQ(pool.held(), Blocks{0});
}

}  // namespace
}  // namespace vramplan
