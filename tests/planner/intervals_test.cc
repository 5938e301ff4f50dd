#include "planner/intervals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace vramplan {
namespace {

// Tables of Student's t as printed in textbooks.
TEST(Intervals, QuantilesOfStudentsTAreTheTabulatedOnes) {
  EXPECT_NEAR(student_t_quantile(0.975, 1), 12.706, 2e-3);
  EXPECT_NEAR(student_t_quantile(0.995, 18), 2.878, 1e-3);
  EXPECT_NEAR(student_t_quantile(0.99, 16), 2.583, 1e-3);
  EXPECT_NEAR(student_t_quantile(0.95, 1000), 1.646, 1e-3);
  EXPECT_NEAR(student_t_quantile(0.005, 18), -2.878, 1e-3);
}

TEST(Intervals, ASummaryIsMeanAndSampleDeviation) {
  const ResidualSummary s = summarise({1, 2, 3, 4});
  EXPECT_DOUBLE_EQ(s.mean, 2.5);
  EXPECT_NEAR(s.deviation, std::sqrt(5.0 / 3), 1e-12);
  EXPECT_EQ(s.count, 4);
}

TEST(Intervals, BoundsAreMirrorImages) {
  const ResidualSummary s = summarise({-1, 0, 1});
  EXPECT_NEAR(upper_bound(s, 0.99), -lower_bound(s, 0.99), 1e-9);
  EXPECT_GT(upper_bound(s, 0.99), upper_bound(s, 0.9));
}

TEST(Intervals, ABoundFromFewRowsHoldsAsOftenAsItSays) {
  std::mt19937 random(7);
  std::normal_distribution<double> normal(0.3, 2.0);
  constexpr int kTrials = 4000;
  // The quantile is the same for all trials; only the sample changes.
  const double t = student_t_quantile(0.9, 9) * std::sqrt(1.1);
  int held = 0;
  for (int i = 0; i < kTrials; ++i) {
    std::vector<double> sample(10);
    for (double& r : sample) r = normal(random);
    const ResidualSummary s = summarise(sample);
    if (i == 0) {
      EXPECT_NEAR(upper_bound(s, 0.9), s.mean + t * s.deviation, 1e-6);
    }
    held += normal(random) <= s.mean + t * s.deviation ? 1 : 0;
  }
  EXPECT_NEAR(held / double{kTrials}, 0.9, 0.02);
}

}  // namespace
}  // namespace vramplan
