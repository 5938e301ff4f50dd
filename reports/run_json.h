#pragma once
// run_json: a run as the object `vramplan.run/1` or `vramplan.verify/1` (schemas: reports/schema/)
// and back. Both hold the same fields: the plan, the rows, the process, times, samples, machine,
// scoring. A byte count that nobody measured is null, never 0.
#include <string>

#include "reports/run_record.h"

namespace vramplan {

std::string run_json(const RunRecord& run);
std::string verify_json(const RunRecord& run);

/// Either object. Measurement and plan are read, the verdict is judged anew from them, never
/// believed; a note is added when the saved outcome says otherwise. Observed rows that had the same
/// key come back as one. The run is named after the file. Errors: kBadJson naming file and field.
RunRecord read_run_json(const std::string& text, const std::string& file_name);

/// 0 within tolerance, 5 out of tolerance.
int exit_code_of(const Verdict& verdict);

}  // namespace vramplan
