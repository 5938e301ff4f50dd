#pragma once
// junit: runs as JUnit XML: a testsuite a run, a testcase a row of the verdict. A gating row out of
// tolerance or not measured is a failure; an informative row that was not measured is skipped.
#include <string>
#include <vector>

#include "reports/run_record.h"

namespace vramplan {

std::string junit_xml(const std::vector<RunRecord>& runs);

}  // namespace vramplan
