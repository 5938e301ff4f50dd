#pragma once
// RunRecord: a plan, what its execution showed, and the verdict: what a report is made of.
#include <string>

#include "reports/verdict.h"

namespace vramplan {

struct RunRecord {
  std::string name;  // of the report's section: the file, or model and device
  Plan plan;
  Measurement measurement;
  Tolerances tolerances;
  Verdict verdict;
};

/// Judges and puts together.
inline RunRecord make_run(std::string name, Plan plan, Measurement measurement,
                          const Tolerances& tolerances) {
  Verdict verdict = judge(plan, measurement, tolerances);
  return {std::move(name), std::move(plan), std::move(measurement), tolerances, std::move(verdict)};
}

}  // namespace vramplan
