#pragma once
// decisions_json: what a plan chose as the object `decisions` of vramplan.plan/1, and back. The
// settings of an engine are in it, though the executor is never given them.
#include <nlohmann/json.hpp>

#include "planner/plan.h"
#include "reports/json_reader.h"

namespace vramplan {

nlohmann::json decisions_object(const Plan& plan);
/// Into plan.decisions and plan.engine. Errors: kBadJson naming file and field.
void read_decisions(const JsonReader& object, Plan& plan);

}  // namespace vramplan
