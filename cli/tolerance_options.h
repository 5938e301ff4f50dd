#pragma once
// ToleranceOptions: the flags that decide what counts as "within".
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "reports/verdict.h"

namespace vramplan::cli {

struct ToleranceOptions {
  std::vector<std::string> tolerances;  // NAME=VALUE
  bool gate_times = false;
};

void add_tolerance_flags(CLI::App& command, ToleranceOptions& options);
/// Errors: kUsage naming the nearest tolerance, or the range.
Tolerances tolerances_of(const ToleranceOptions& options);

}  // namespace vramplan::cli
