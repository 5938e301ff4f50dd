#include "executor/cost_fit.h"

#include <gtest/gtest.h>

#include "executor/rng.h"

namespace vramplan {
namespace {

std::vector<CostPoint> points_on(double call_s, double bytes_per_s, double flops_per_s,
                                 double noise) {
  SplitMix64 rng(7);
  std::vector<CostPoint> points;
  for (double bytes = 1e3; bytes < 1e9; bytes *= 4) {
    for (const double intensity : {0.5, 8.0, 512.0}) {
      CostPoint point{bytes, bytes * intensity, call_s};
      if (bytes_per_s > 0) point.seconds += point.bytes / bytes_per_s;
      if (flops_per_s > 0) point.seconds += point.flops / flops_per_s;
      point.seconds *= 1 + noise * (2 * rng.uniform() - 1);
      points.push_back(point);
    }
  }
  return points;
}

TEST(CostFit, GivesTheLineBackThatThePointsLieOn) {
  const CostFit fit = fit_cost(points_on(2e-6, 12e9, 90e9, 0));
  EXPECT_NEAR(fit.call_s, 2e-6, 1e-10);
  EXPECT_NEAR(fit.bytes_per_s, 12e9, 1e5);
  EXPECT_NEAR(fit.flops_per_s, 90e9, 1e6);
  EXPECT_LT(fit.worst_error, 1e-6);
}

TEST(CostFit, ATermThatIsNotThereIsLeftOut) {
  const CostFit fit = fit_cost(points_on(0, 12e9, 0, 0));
  EXPECT_LT(fit.call_s, 1e-12);
  EXPECT_NEAR(fit.bytes_per_s, 12e9, 1e5);
  EXPECT_NEAR(fit.seconds(12e9, 0), 1.0, 1e-6);
}

TEST(CostFit, NoiseOfTenPercentMovesTheRatesByLess) {
  const CostFit fit = fit_cost(points_on(2e-6, 12e9, 90e9, 0.1));
  EXPECT_NEAR(fit.call_s / 2e-6, 1, 0.1);
  EXPECT_NEAR(fit.bytes_per_s / 12e9, 1, 0.1);
  EXPECT_NEAR(fit.flops_per_s / 90e9, 1, 0.1);
  EXPECT_GT(fit.worst_error, 0.01);
}

TEST(CostFit, NeverGivesANegativeTerm) {
  // Larger work in less time: the plain least-squares line has a negative slope.
  const CostFit fit = fit_cost({{1e6, 1e6, 4e-6}, {2e6, 2e6, 3e-6}, {4e6, 4e6, 1e-6}});
  EXPECT_EQ(fit.bytes_per_s, 0);
  EXPECT_EQ(fit.flops_per_s, 0);
  // A constant c: sum of (c / s - 1)^2 is least at c = sum(1 / s) / sum(1 / s^2).
  EXPECT_NEAR(fit.call_s, (1 / 4. + 1 / 3. + 1) / (1 / 16. + 1 / 9. + 1) * 1e-6, 1e-12);
}

TEST(CostFit, BytesAndFlopsInStepAreOneTerm) {
  std::vector<CostPoint> points;
  for (double bytes = 1e3; bytes < 1e8; bytes *= 3) {
    points.push_back({bytes, bytes / 2, 1e-6 + bytes / 5e9});
  }
  const CostFit fit = fit_cost(points);
  EXPECT_LT(fit.worst_error, 1e-6);
  EXPECT_NEAR(fit.seconds(1e9, 5e8), 0.2 + 1e-6, 1e-6);
}

TEST(MedianOf, IsTheMiddle) {
  EXPECT_EQ(median_of({3}), 3);
  EXPECT_EQ(median_of({9, 1, 5}), 5);
  EXPECT_EQ(median_of({4, 1, 2, 100}), 3);
}

}  // namespace
}  // namespace vramplan
