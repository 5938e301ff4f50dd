#pragma once
// verify_text: a run against its plan, for a terminal. Verdict line, what failed, rows side by
// side, process, capacity identity, times, scoring, machine, assumptions.
#include <string>

#include "reports/run_record.h"
#include "reports/text_table.h"

namespace vramplan {

std::string verify_text(const RunRecord& run, const TextOptions& options);

}  // namespace vramplan
