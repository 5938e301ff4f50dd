#pragma once
// PlanCsv: the ledger of a plan as comma-separated rows: rank,tier,category,name,phase,bytes.
#include <string>

#include "planner/plan.h"

namespace vramplan {

std::string plan_csv(const Plan& plan);
/// A cell, quoted when it holds a comma, a quote or a line end.
std::string csv_cell(const std::string& text);

}  // namespace vramplan
