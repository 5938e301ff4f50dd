#include "executor/block_pool.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <memory>
#include <string>

namespace vramplan {
namespace {

constexpr Bytes kPlenty{std::int64_t{1} << 40};

TEST(BlockPool, StartsWithTheLowestBlocksAndTakesEachOnce) {
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  BlockPool pool(*tier, Blocks{3}, 1_KiB);
  EXPECT_EQ(tier->free_now(), kPlenty - 3_KiB);
  EXPECT_EQ(pool.take(), 0);
  EXPECT_EQ(pool.take(), 1);
  EXPECT_EQ(pool.take(), 2);
  EXPECT_EQ(pool.data(2) - pool.base(), 2048);
  pool.check_integrity();
}

/// Counts what is committed of the dry tier below it.
class CountingTier final : public Tier {
 public:
  TierKind kind() const override { return below_->kind(); }
  Bytes capacity() const override { return below_->capacity(); }
  Bytes free_now() const override { return below_->free_now(); }
  Region reserve(Bytes size, const std::string& purpose) override {
    return below_->reserve(size, purpose);
  }
  void release(Region& region) override { below_->release(region); }
  void commit(std::byte* data, Bytes size) override { ++committed[data], bytes += size; }

  std::map<std::byte*, int> committed;
  Bytes bytes;

 private:
  std::unique_ptr<Tier> below_ = make_dry_tier(TierKind::kDevice, kPlenty);
};

TEST(BlockPool, MemoryOfABlockIsBroughtTheFirstTimeItIsTaken) {
  CountingTier tier;
  BlockPool pool(tier, Blocks{3}, 1_KiB);
  EXPECT_TRUE(tier.committed.empty());
  const std::int32_t block = pool.take();
  EXPECT_EQ(tier.committed[pool.data(block)], 1);
  pool.give_back(block);
  EXPECT_EQ(pool.take(), block);
  EXPECT_EQ(tier.committed[pool.data(block)], 1);
  pool.take();
  EXPECT_EQ(tier.bytes, 2_KiB);
}

TEST(BlockPool, OneBlockOverThePlanIsAnErrorThatNamesTheSize) {
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  BlockPool pool(*tier, Blocks{2}, 1_KiB);
  pool.take();
  pool.take();
  try {
    pool.take();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan);
    EXPECT_NE(error.message().find("all 2 KV blocks"), std::string::npos);
  }
  EXPECT_EQ(pool.held(), Blocks{2});
}

TEST(BlockPool, ABlockIsFreeWhenItsLastHolderLeaves) {
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  BlockPool pool(*tier, Blocks{1}, 1_KiB);
  const std::int32_t block = pool.take();
  pool.share(block);
  pool.give_back(block);
  EXPECT_EQ(pool.held(), Blocks{1});
  pool.give_back(block);
  EXPECT_EQ(pool.held(), Blocks{0});
  EXPECT_EQ(pool.most_held(), Blocks{1});
  EXPECT_DEATH(pool.give_back(block), "does not hold");
  EXPECT_DEATH(pool.share(block), "does not hold");
}

// Against a map from block to count.
RC_GTEST_PROP(BlockPool, ConservesBlocks, ()) {
  const auto total = *rc::gen::inRange<std::int64_t>(1, 12);
  auto tier = make_dry_tier(TierKind::kDevice, kPlenty);
  BlockPool pool(*tier, Blocks{total}, 256_B);
  std::map<std::int32_t, int> model;
  std::size_t most = 0;
  for (const int action : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 300))) {
    const auto pick = [&] {
      auto at = model.begin();
      std::advance(at, action / 3 % static_cast<int>(model.size()));
      return at;
    };
    if (action % 3 == 0) {
      try {
        const std::int32_t block = pool.take();
        RC_ASSERT(model.count(block) == 0U);
        model[block] = 1;
      } catch (const Error& error) {
        RC_ASSERT(error.code() == ErrorCode::kOutOfPlan);
        RC_ASSERT(static_cast<std::int64_t>(model.size()) == total);
      }
    } else if (!model.empty() && action % 3 == 1) {
      const auto at = pick();
      pool.share(at->first);
      ++at->second;
    } else if (!model.empty()) {
      const auto at = pick();
      pool.give_back(at->first);
      if (--at->second == 0) model.erase(at);
    }
    most = std::max(most, model.size());
    pool.check_integrity();
    RC_ASSERT(pool.held().n == static_cast<std::int64_t>(model.size()));
    RC_ASSERT(pool.most_held().n == static_cast<std::int64_t>(most));
    for (std::int32_t block = 0; block < total; ++block) {
      RC_ASSERT(pool.holders(block) == (model.count(block) > 0 ? model[block] : 0));
    }
  }
}

}  // namespace
}  // namespace vramplan
