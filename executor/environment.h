#pragma once
// Environment: the machine a run happened on, as far as it decides how a number came about. No host
// or user names.
#include "executor/measurement.h"

namespace vramplan {

Environment this_environment(const std::string& backend, int threads);

}  // namespace vramplan
