#pragma once
// markdown: a plan or runs as a comment of a pull request or a step summary: the verdict, what
// failed, worst first, and the rest folded in <details>. Names are escaped; nothing is loaded from
// outside.
#include <string>
#include <vector>

#include "reports/run_record.h"

namespace vramplan {

std::string plan_markdown(const Plan& plan);
std::string run_markdown(const std::vector<RunRecord>& runs);

}  // namespace vramplan
