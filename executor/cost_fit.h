#pragma once
// CostFit: the line seconds = call_s + bytes / bytes_per_s + flops / flops_per_s through measured
// points, with no term below zero.
#include <string>
#include <vector>

#include "modelcards/device_card.h"

namespace vramplan {

/// One operation as it was timed, with the work it did.
struct CostPoint {
  double bytes = 0, flops = 0;  // work of the call
  double seconds = 0;           // median of the repetitions, > 0
};

struct CostFit {
  double call_s = 0, bytes_per_s = 0, flops_per_s = 0;  // 0 = no such term
  double median_error = 0;                              // median of |fit / measured - 1|
  double worst_error = 0;

  /// Seconds of a call with this work.
  double seconds(double bytes, double flops) const;
};

/// Least squares of the relative error (each point counts alike, a microsecond or a second), over
/// every choice of terms; the best with no negative coefficient. Assumes at least one point.
/// Example: points of 1 us + bytes / 10 GB/s give that line back.
CostFit fit_cost(const std::vector<CostPoint>& points);

/// The middle value; the mean of the two middle ones for an even count. Assumes at least one.
double median_of(std::vector<double> values);
/// The value that `share` of the values are below, between two of them by straight line.
double quantile_of(std::vector<double> values, double share);

}  // namespace vramplan
