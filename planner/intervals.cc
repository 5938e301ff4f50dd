#include "planner/intervals.h"

#include <cmath>

#include "modelcards/error.h"

namespace vramplan {
namespace {

/// Density of Student's t.
double density(double t, double degrees) {
  const double scale = std::lgamma((degrees + 1) / 2) - std::lgamma(degrees / 2) -
                       0.5 * std::log(degrees * 3.14159265358979323846);
  return std::exp(scale - (degrees + 1) / 2 * std::log1p(t * t / degrees));
}

/// P(0 <= T <= t) by Simpson's rule over t = sinh(u), which follows the long tails of few degrees.
double half_probability(double t, double degrees) {
  constexpr int kSteps = 2000;
  const double end = std::asinh(t);
  const double step = end / kSteps;
  double sum = 0;
  for (int i = 0; i <= kSteps; ++i) {
    const double u = step * i;
    const double weight = i == 0 || i == kSteps ? 1 : (i % 2 == 1 ? 4 : 2);
    sum += weight * density(std::sinh(u), degrees) * std::cosh(u);
  }
  return sum * step / 3;
}

}  // namespace

double student_t_quantile(double probability, double degrees) {
  VRAMPLAN_CHECK(probability > 0 && probability < 1 && degrees >= 1);
  if (probability < 0.5) return -student_t_quantile(1 - probability, degrees);
  const double wanted = probability - 0.5;
  double low = 0, high = 1;
  while (half_probability(high, degrees) < wanted && high < 1e9) high *= 2;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (half_probability(middle, degrees) < wanted ? low : high) = middle;
  }
  return (low + high) / 2;
}

ResidualSummary summarise(const std::vector<double>& residuals) {
  ResidualSummary out;
  out.count = static_cast<std::int64_t>(residuals.size());
  if (residuals.empty()) return out;
  for (const double r : residuals) out.mean += r;
  out.mean /= static_cast<double>(residuals.size());
  double squares = 0;
  for (const double r : residuals) squares += (r - out.mean) * (r - out.mean);
  if (residuals.size() > 1) {
    out.deviation = std::sqrt(squares / static_cast<double>(residuals.size() - 1));
  }
  return out;
}

double upper_bound(const ResidualSummary& residuals, double confidence) {
  VRAMPLAN_CHECK(residuals.count >= 2);
  const double n = static_cast<double>(residuals.count);
  return residuals.mean +
         student_t_quantile(confidence, n - 1) * residuals.deviation * std::sqrt(1 + 1 / n);
}

double lower_bound(const ResidualSummary& residuals, double confidence) {
  const ResidualSummary mirrored{-residuals.mean, residuals.deviation, residuals.count};
  return -upper_bound(mirrored, confidence);
}

}  // namespace vramplan
