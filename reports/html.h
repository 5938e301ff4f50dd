#pragma once
// html: a plan or runs as one file that needs nothing else: inline SVG, style and script, no
// outside address, a content security policy that names the hashes of its own style and script.
// Readable without the script, which adds sorting and hides or shows series.
#include <string>
#include <vector>

#include "reports/run_record.h"

namespace vramplan {

std::string plan_html(const Plan& plan);
/// One section a run; a table of all verdicts first when there are several.
std::string html_report(const std::vector<RunRecord>& runs);

}  // namespace vramplan
