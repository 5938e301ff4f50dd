#include "executor/cost_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "modelcards/error.h"

namespace vramplan {
namespace {

constexpr std::size_t kTerms = 3;  // call, bytes, flops
using Terms = std::array<double, kTerms>;

// Columns are scaled to order one: bytes in GB, flops in Gflop, calls in ms.
constexpr Terms kScale{1e-3, 1e-9, 1e-9};

Terms row_of(const CostPoint& point) {
  return {kScale[0] / point.seconds, kScale[1] * point.bytes / point.seconds,
          kScale[2] * point.flops / point.seconds};
}

/// Solves the normal equations for the terms in `chosen`; nothing when they are singular.
std::optional<Terms> solve(const std::vector<CostPoint>& points, unsigned chosen) {
  std::array<std::array<double, kTerms + 1>, kTerms> m{};  // [A^T A | A^T 1]
  for (const auto& point : points) {
    const Terms row = row_of(point);
    for (std::size_t i = 0; i < kTerms; ++i) {
      for (std::size_t j = 0; j < kTerms; ++j) m[i][j] += row[i] * row[j];
      m[i][kTerms] += row[i];
    }
  }
  for (std::size_t i = 0; i < kTerms; ++i) {
    if ((chosen >> i & 1U) != 0) continue;
    for (std::size_t j = 0; j < kTerms; ++j) m[i][j] = m[j][i] = 0;
    m[i][i] = 1;  // the term is held at zero
    m[i][kTerms] = 0;
  }
  double largest = 0;
  for (std::size_t i = 0; i < kTerms; ++i) largest = std::max(largest, m[i][i]);
  for (std::size_t i = 0; i < kTerms; ++i) {
    std::size_t pivot = i;
    for (std::size_t k = i + 1; k < kTerms; ++k) {
      if (std::fabs(m[k][i]) > std::fabs(m[pivot][i])) pivot = k;
    }
    std::swap(m[i], m[pivot]);
    if (std::fabs(m[i][i]) < 1e-12 * largest) return std::nullopt;
    for (std::size_t k = 0; k < kTerms; ++k) {
      if (k == i) continue;
      const double factor = m[k][i] / m[i][i];
      for (std::size_t j = i; j <= kTerms; ++j) m[k][j] -= factor * m[i][j];
    }
  }
  Terms x{};
  for (std::size_t i = 0; i < kTerms; ++i) x[i] = m[i][kTerms] / m[i][i];
  return x;
}

double squared_error(const std::vector<CostPoint>& points, const Terms& x) {
  double sum = 0;
  for (const auto& point : points) {
    const Terms row = row_of(point);
    double predicted = -1;
    for (std::size_t i = 0; i < kTerms; ++i) predicted += row[i] * x[i];
    sum += predicted * predicted;
  }
  return sum;
}

}  // namespace

double CostFit::seconds(double bytes, double flops) const {
  double total = call_s;
  if (bytes_per_s > 0) total += bytes / bytes_per_s;
  if (flops_per_s > 0) total += flops / flops_per_s;
  return total;
}

CostFit fit_cost(const std::vector<CostPoint>& points) {
  VRAMPLAN_CHECK(!points.empty());
  for (const auto& point : points) VRAMPLAN_CHECK(point.seconds > 0);
  Terms best{};
  double best_error = -1;
  // With three terms every active set can be tried: seven of them.
  for (unsigned chosen = 1; chosen < 1U << kTerms; ++chosen) {
    const auto x = solve(points, chosen);
    if (!x || std::any_of(x->begin(), x->end(), [](double v) { return v < 0; })) continue;
    const double error = squared_error(points, *x);
    // More terms must earn their place; rounding alone is no improvement.
    if (best_error < 0 || error < best_error * (1 - 1e-9)) {
      best = *x;
      best_error = error;
    }
  }
  CostFit fit;
  fit.call_s = best[0] * kScale[0];
  if (best[1] > 0) fit.bytes_per_s = 1 / (best[1] * kScale[1]);
  if (best[2] > 0) fit.flops_per_s = 1 / (best[2] * kScale[2]);
  std::vector<double> errors;
  for (const auto& point : points) {
    errors.push_back(std::fabs(fit.seconds(point.bytes, point.flops) / point.seconds - 1));
  }
  fit.worst_error = *std::max_element(errors.begin(), errors.end());
  fit.median_error = median_of(std::move(errors));
  return fit;
}

double median_of(std::vector<double> values) { return quantile_of(std::move(values), 0.5); }

double quantile_of(std::vector<double> values, double share) {
  VRAMPLAN_CHECK(!values.empty() && share >= 0 && share <= 1);
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

}  // namespace vramplan
