#include "reports/rank_groups.h"

#include <gtest/gtest.h>

#include "tests/reports/samples.h"

namespace vramplan {
namespace {

TEST(RankGroups, LabelsNameRuns) {
  EXPECT_EQ((RankGroup{{0}}).label(), "rank 0");
  EXPECT_EQ((RankGroup{{0, 1, 2, 5, 7, 8}}).label(), "ranks 0-2, 5, 7-8");
}

TEST(RankGroups, OneObservedByteSplitsAGroup) {
  EXPECT_EQ(rank_groups(samples::dry_plan()).size(), 1u);
  Measurement m = samples::dry_measurement();
  m.observed.add(
      samples::row(2, TierKind::kDevice, Category::kWeights, "embedding", Phase::kLoad, 1, ""));
  const RunRecord run = make_run("r", samples::dry_plan(), m, {});
  const auto groups = rank_groups(run.plan, run.verdict);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].label(), "ranks 0-1, 3-7");
  EXPECT_EQ(groups[1].label(), "rank 2");
}

TEST(RankGroups, ARankThatWasOnlyObservedIsShown) {
  Measurement m = samples::cpu_measurement();
  m.observed.add(
      samples::row(9, TierKind::kDevice, Category::kWeights, "stray", Phase::kLoad, 1, ""));
  const RunRecord run = make_run("r", samples::cpu_plan(), m, {});
  ASSERT_EQ(rank_groups(run.plan, run.verdict).size(), 2u);
  EXPECT_EQ(rank_groups(run.plan, run.verdict)[1].label(), "rank 9");
}

}  // namespace
}  // namespace vramplan
