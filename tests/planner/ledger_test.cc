#include "planner/ledger.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

Ledger sample() {
  Ledger ledger;
  const auto add = [&](int rank, Category category, Phase phase, std::int64_t bytes) {
    ledger.add({rank, TierKind::kDevice, category, "row", phase, Bytes{bytes}, ""});
  };
  add(0, Category::kWeights, Phase::kLoad, 1000);
  add(0, Category::kKvCache, Phase::kLoad, 100);
  add(0, Category::kActivations, Phase::kPrefill, 70);
  add(0, Category::kActivations, Phase::kDecode, 20);
  add(0, Category::kWorkspace, Phase::kLoad, 5);
  add(0, Category::kWorkspace, Phase::kPrefill, 3);
  add(1, Category::kWeights, Phase::kLoad, 7);
  ledger.add({0, TierKind::kHost, Category::kRuntime, "row", Phase::kLoad, Bytes{9}, ""});
  return ledger;
}

TEST(Ledger, ThePeakIsAMaximumOverPhasesNotASum) {
  const Ledger ledger = sample();
  EXPECT_EQ(ledger.live(0, TierKind::kDevice, Phase::kLoad).n, 1105);
  EXPECT_EQ(ledger.live(0, TierKind::kDevice, Phase::kPrefill).n, 1105 + 70 + 3);
  EXPECT_EQ(ledger.live(0, TierKind::kDevice, Phase::kDecode).n, 1105 + 20);
  EXPECT_EQ(ledger.peak(0, TierKind::kDevice).n, 1178);
}

TEST(Ledger, RanksAndTiersAreKeptApart) {
  const Ledger ledger = sample();
  EXPECT_EQ(ledger.peak(1, TierKind::kDevice).n, 7);
  EXPECT_EQ(ledger.peak(0, TierKind::kHost).n, 9);
  EXPECT_EQ(ledger.sum(0, TierKind::kDevice, Category::kWorkspace).n, 8);
  EXPECT_EQ(ledger.peak(2, TierKind::kDevice).n, 0);
}

}  // namespace
}  // namespace vramplan
