#include "executor/prefix_tree.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace vramplan {
namespace {

using Ids = std::vector<std::int32_t>;

class PrefixTrees : public testing::Test {
 protected:
  std::vector<std::int32_t> take(int count) {
    std::vector<std::int32_t> blocks;
    for (int i = 0; i < count; ++i) blocks.push_back(pool.take());
    return blocks;
  }
  void give_back(const std::vector<std::int32_t>& blocks) {
    for (const std::int32_t block : blocks) pool.give_back(block);
  }
  std::unique_ptr<Tier> tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool{*tier, Blocks{16}, 1_KiB};
  PrefixTree tree{pool, TokensPerBlock{2}};
};

TEST_F(PrefixTrees, WholeBlocksAreFoundAgainByTheirTokens) {
  const auto blocks = take(3);
  tree.insert("", Ids{1, 2, 3, 4, 5}, blocks);  // the fifth token is in no whole block
  EXPECT_EQ(tree.block_count(), 2);
  EXPECT_EQ(tree.match("", Ids{1, 2, 3, 4, 9}), (std::vector<std::int32_t>{blocks[0], blocks[1]}));
  EXPECT_EQ(tree.match("", Ids{1, 2, 3, 9}), (std::vector<std::int32_t>{blocks[0]}));
  EXPECT_TRUE(tree.match("", Ids{3, 4}).empty());  // the same tokens behind others are not the same
  EXPECT_TRUE(tree.match("", Ids{1}).empty());
  EXPECT_EQ(pool.holders(blocks[0]), 1 + 1 + 2);
  EXPECT_EQ(tree.blocks_found(), 3);
}

TEST_F(PrefixTrees, TenantsNeverShare) {
  const auto blocks = take(1);
  tree.insert("a", Ids{1, 2}, blocks);
  EXPECT_TRUE(tree.match("b", Ids{1, 2}).empty());
  EXPECT_EQ(tree.match("a", Ids{1, 2}).size(), 1U);
}

TEST_F(PrefixTrees, TheLeastUsedEndOfARunGoesFirstAndNothingThatIsHeld) {
  const auto blocks = take(4);
  tree.insert("", Ids{1, 2, 3, 4}, std::vector<std::int32_t>{blocks[0], blocks[1]});
  tree.insert("", Ids{5, 6}, std::vector<std::int32_t>{blocks[2]});
  give_back(blocks);
  give_back(tree.match("", Ids{1, 2, 3, 4}));
  EXPECT_EQ(pool.held(), Blocks{3});
  EXPECT_TRUE(tree.evict_one());  // 5 6
  EXPECT_TRUE(tree.match("", Ids{5, 6}).empty());
  const auto held = tree.match("", Ids{1, 2, 3, 4});
  EXPECT_FALSE(tree.evict_one());
  give_back(held);
  EXPECT_TRUE(tree.evict_one());
  EXPECT_EQ(tree.match("", Ids{1, 2, 3, 4}).size(), 1U);
  tree.clear();
  EXPECT_EQ(pool.holders(blocks[0]), 1);  // of the match above
  pool.check_integrity();
}

/// Against a map from prefixes to blocks.
RC_GTEST_PROP(PrefixTreeProperty, FindsWhatAMapOfPrefixesFinds, ()) {
  auto tier = make_dry_tier(TierKind::kDevice, 1_GiB);
  BlockPool pool(*tier, Blocks{2000}, 256_B);
  PrefixTree tree(pool, TokensPerBlock{2});
  std::map<Ids, std::int32_t> known;
  for (int step = 0; step < 30; ++step) {
    const Ids ids = *rc::gen::container<Ids>(rc::gen::inRange(0, 3));
    const auto found = tree.match("t", ids);
    std::size_t wanted = 0;
    while ((wanted + 1) * 2 <= ids.size() &&
           known.count(Ids(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(wanted + 1) * 2)))
      ++wanted;
    RC_ASSERT(found.size() == wanted);
    std::vector<std::int32_t> blocks = found;
    while (blocks.size() < ids.size() / 2) blocks.push_back(pool.take());
    tree.insert("t", ids, blocks);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const Ids prefix(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(i + 1) * 2);
      RC_ASSERT(known.try_emplace(prefix, blocks[i]).first->second == blocks[i]);
      pool.give_back(blocks[i]);
    }
    pool.check_integrity();
    RC_ASSERT(tree.block_count() == static_cast<std::int64_t>(known.size()));
    RC_ASSERT(pool.held().n == tree.block_count());
  }
  while (tree.evict_one()) pool.check_integrity();
  RC_ASSERT(pool.held().n == 0);
}

}  // namespace
}  // namespace vramplan
