#include "reports/memory_bars.h"

#include <gtest/gtest.h>

#include "tests/reports/samples.h"

namespace vramplan {
namespace {

TEST(MemoryBars, ABarIsThePeakAndNotTheSumOfPeaks) {
  const Plan plan = samples::cpu_plan();
  const auto bars = memory_bars(plan, nullptr, rank_groups(plan));
  ASSERT_EQ(bars.size(), 1u);
  EXPECT_EQ(bars[0].total, plan.predictions.ledger.peak(0, TierKind::kDevice));
  EXPECT_EQ(bars[0].phase, Phase::kPrefill);
  EXPECT_EQ(bars[0].label, "rank 0 device");
  Bytes sum;
  for (const BarPart& part : bars[0].parts) sum += part.bytes;
  EXPECT_EQ(sum, bars[0].total);
  EXPECT_EQ(bars[0].capacity, 512_MiB);
}

TEST(MemoryBars, TheObservationStandsBesideThePrediction) {
  const RunRecord run = samples::cpu_run();
  const auto bars = memory_bars(run.plan, &run.measurement, rank_groups(run.plan, run.verdict));
  ASSERT_EQ(bars.size(), 2u);
  EXPECT_FALSE(bars[0].observed);
  EXPECT_TRUE(bars[1].observed);
  EXPECT_EQ(bars[1].total.n - bars[0].total.n, 131'072);
}

TEST(MemoryBars, HostRowsHaveABarWithoutCapacityAndEqualRanksShareOne) {
  Plan plan = samples::dry_plan();
  plan.predictions.ledger.add(samples::row(3, TierKind::kHost, Category::kRuntime, "process base",
                                           Phase::kLoad, 1000, "x"));
  const auto bars = memory_bars(plan, nullptr, rank_groups(plan));
  ASSERT_EQ(bars.size(), 3u);
  EXPECT_EQ(bars[0].label, "ranks 0-2, 4-7 device");
  EXPECT_EQ(bars[2].label, "rank 3 host");
  EXPECT_EQ(bars[2].capacity.n, 0);
}

}  // namespace
}  // namespace vramplan
