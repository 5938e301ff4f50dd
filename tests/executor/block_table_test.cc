#include "executor/block_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <memory>
#include <vector>

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

TEST(BlockTable, TheSecondHolderThatWritesGetsACopy) {
  auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, Blocks{8}, 1_KiB);
  BlockTable first(pool, TokensPerBlock{4}), second(pool, TokensPerBlock{4});
  first.grow_to(Tokens{7});
  second.share(first);
  EXPECT_EQ(pool.held(), Blocks{2});
  const auto copy = second.own(6);
  ASSERT_TRUE(copy.has_value());
  EXPECT_EQ(copy->from, 1);
  EXPECT_EQ(copy->to, second.blocks()[1]);
  EXPECT_FALSE(first.own(6).has_value());  // nobody else holds it any more
  EXPECT_FALSE(second.own(6).has_value());
  EXPECT_EQ(first.blocks()[0], second.blocks()[0]);
  EXPECT_EQ(pool.held(), Blocks{3});
  EXPECT_EQ(pool.generation(copy->to), 1);
  first.clear();
  EXPECT_EQ(pool.held(), Blocks{2});
  pool.check_integrity();
}

/// Tables that grow, share, write and end, against sequences that each keep all their tokens.
RC_GTEST_PROP(BlockTable, SharingIsInvisible, ()) {
  const TokensPerBlock block{*rc::gen::inRange<std::int64_t>(1, 5)};
  auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, Blocks{400}, 1_KiB);
  std::vector<int> cells(static_cast<std::size_t>(400 * block.n), -1);  // what each slot holds
  struct Sequence {
    BlockTable table;
    std::vector<int> tokens;
  };
  std::vector<std::unique_ptr<Sequence>> sequences;
  int next = 0;
  for (const int action : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 400))) {
    const auto pick = static_cast<std::size_t>(action / 4);
    if (action % 4 == 0 || sequences.empty()) {
      if (sequences.size() < 8)
        sequences.push_back(std::make_unique<Sequence>(Sequence{BlockTable(pool, block), {}}));
    } else if (action % 4 == 1 && sequences.size() < 8) {
      const Sequence& parent = *sequences[pick % sequences.size()];
      BlockTable table(pool, block);
      table.share(parent.table);
      const std::vector<int> tokens = parent.tokens;
      sequences.push_back(std::make_unique<Sequence>(Sequence{std::move(table), tokens}));
    } else if (action % 4 == 2) {
      sequences.erase(sequences.begin() + static_cast<std::ptrdiff_t>(pick % sequences.size()));
    } else {
      Sequence& s = *sequences[pick % sequences.size()];
      const auto position = static_cast<std::int64_t>(s.tokens.size());
      s.table.grow_to(Tokens{position + 1});
      if (const auto copy = s.table.own(position)) {
        for (std::int64_t i = 0; i < block.n; ++i) {
          cells[static_cast<std::size_t>(copy->to * block.n + i)] =
              cells[static_cast<std::size_t>(copy->from * block.n + i)];
        }
      }
      cells[static_cast<std::size_t>(s.table.slot(position))] = next;
      s.tokens.push_back(next++);
    }
    pool.check_integrity();
    for (const auto& s : sequences) {
      for (std::size_t t = 0; t < s->tokens.size(); ++t) {
        const std::int64_t slot = s->table.slot(static_cast<std::int64_t>(t));
        RC_ASSERT(cells[static_cast<std::size_t>(slot)] == s->tokens[t]);
      }
    }
  }
  sequences.clear();
  RC_ASSERT(pool.held().n == 0);
}

}  // namespace
}  // namespace vramplan
