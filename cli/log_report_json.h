#pragma once
// LogReport: a prediction beside an engine's boot log, as JSON (schema vramplan.log/1).
#include <string>
#include <vector>

#include "planner/engines/boot_log.h"

namespace vramplan::cli {

std::string log_json(const EngineForecast& forecast, const std::vector<LogRow>& rows);

}  // namespace vramplan::cli
