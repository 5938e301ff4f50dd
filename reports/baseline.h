#pragma once
// Baseline: a run against an earlier run of the same decisions. Bytes are exact: any change is a
// finding, and more bytes is a regression. Times are compared by their median with a noise band.
#include <string>
#include <vector>

#include "reports/run_record.h"

namespace vramplan {

struct NoiseBand {
  double least = 0.05;      // a band is never narrower than this share of the baseline's median
  double deviations = 3.0;  // times the spread of the steps: interquartile range / 1.349
  double single = 0.20;     // for times of which a run has one value (TTFT, prefill)
  double process = 0.02;    // process peak: a share and a floor
  Bytes process_floor{8 * 1024 * 1024};
};

/// One difference. `change` is (now - before) / before, 0 when before is 0.
struct Finding {
  std::string what;   // "weights attention (load), rank 0 device: observed bytes"
  std::string cause;  // what else differs: commit, prediction formula ... may be empty
  double before = 0, now = 0, change = 0;
  bool is_bytes = false;       // before and now are whole bytes, else seconds or tokens/s
  double threshold = 0;        // largest |change| that is no finding, or bytes when is_bytes
  std::string threshold_from;  // where it is defined: "exact", "NoiseBand.single" ...
  bool regression = false;     // worse; otherwise better or merely different
};

struct Comparison {
  std::string name;                // of the run
  std::vector<Finding> findings;   // regressions first, then by magnitude
  std::vector<std::string> notes;  // what could not be compared, and why
  int regressions() const;
};

/// Regressions: more predicted or observed bytes in a row, a new row, a row no longer measured, a
/// verdict that was within and is not any more, a process peak above the band, a time outside its
/// band on the slow side. Times are compared only when machine, CPU, threads and backend are the
/// same. Errors: kUsage naming the field when the two runs decided differently.
Comparison compare(const RunRecord& before, const RunRecord& now, const NoiseBand& band);
/// 0, or 4 when there is a regression.
int exit_code_of(const Comparison& comparison);

std::string comparison_text(const Comparison& comparison);
std::string comparison_markdown(const Comparison& comparison);
/// `vramplan.comparison/1` (schema: reports/schema/comparison.json).
std::string comparison_json(const std::vector<Comparison>& comparisons);

}  // namespace vramplan
