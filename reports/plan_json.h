#pragma once
// plan_json: a plan as the object `vramplan.plan/1` (schema: reports/schema/plan.json) and back.
// Bytes are integers, keys are sorted, numbers that are not finite are null.
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "planner/plan.h"

namespace vramplan {

class JsonReader;

std::string plan_json(const Plan& plan);
/// Errors: kBadJson naming file and field.
Plan read_plan_json(const std::string& text, const std::string& file_name);

/// The same for documents that hold a plan.
nlohmann::json plan_object(const Plan& plan);
Plan plan_from(const JsonReader& object);

}  // namespace vramplan
