#pragma once
// Intervals: how far a new observation may lie from a prediction, from the residuals of the rows a
// table was fitted to. Student's t, because the rows are few; assumes residuals are independent and
// roughly normal, which the held-out coverage in bench/accuracy checks.
#include <cstdint>
#include <vector>

namespace vramplan {

/// Quantile of Student's t: P(T <= t) = probability. 0 < probability < 1, degrees >= 1.
/// Example: t(0.995, 18) = 2.878.
double student_t_quantile(double probability, double degrees);

struct ResidualSummary {
  double mean = 0;       // observed - predicted
  double deviation = 0;  // sample standard deviation
  std::int64_t count = 0;
};
ResidualSummary summarise(const std::vector<double>& residuals);

/// A bound a new residual stays under with `confidence` (one-sided):
/// mean + t(confidence, count - 1) * deviation * sqrt(1 + 1 / count). Needs two rows at least.
double upper_bound(const ResidualSummary& residuals, double confidence);
double lower_bound(const ResidualSummary& residuals, double confidence);

}  // namespace vramplan
