#pragma once
// EngineReport: an engine's forecast, as JSON fields of a device and as a table for people.
#include <string>

#include <nlohmann/json.hpp>

#include "planner/plan.h"
#include "reports/json_reader.h"
#include "reports/text_table.h"

namespace vramplan {

/// The object `engine` of a device in vramplan.plan/1.
nlohmann::json engine_object(const EngineForecast& forecast);
/// The object `decisions.engine` of vramplan.plan/1, and back.
nlohmann::json engine_decision_object(const EngineDecision& decision);
EngineDecision engine_decision_from(const JsonReader& in);
/// The object `serving` of vramplan.plan/1.
nlohmann::json serving_object(const ServingForecast& serving);
/// Empty when the plan was not made for an engine.
std::string engine_text(const Plan& plan, const TextOptions& options);
std::string engine_markdown(const Plan& plan);

}  // namespace vramplan
