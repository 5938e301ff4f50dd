#pragma once
#include <string>

#include "executor/calibrate.h"

namespace vramplan::cli {
/// schema vramplan.calibration/1
std::string calibration_json(const Calibration& calibration, const std::string& path);
}  // namespace vramplan::cli
