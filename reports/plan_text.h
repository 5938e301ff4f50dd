#pragma once
// plan_text: a plan for a terminal. Verdict line, ledger, binding constraint and cheapest changes,
// limits, performance with what limits it, assumptions.
#include <string>

#include "planner/plan.h"
#include "reports/text_table.h"

namespace vramplan {

std::string plan_text(const Plan& plan, const TextOptions& options);

/// Parts that verify_text shows too.
std::string verdict_line(bool good, const std::string& word, const std::string& sentence,
                         const TextOptions& options);
std::string assumptions_text(const Plan& plan, const TextOptions& options);
std::string time_terms_text(const Performance& performance, const TextOptions& options);

}  // namespace vramplan
