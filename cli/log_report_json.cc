#include "cli/log_report_json.h"

#include <cmath>

#include "reports/engine_report.h"
#include "reports/json_reader.h"

namespace vramplan::cli {
namespace {

nlohmann::json value_of(double value, const std::string& unit) {
  if (unit == "sequences") return finite(value);
  return std::llround(value);
}

}  // namespace

std::string log_json(const EngineForecast& forecast, const std::vector<LogRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  bool good = true;
  for (const LogRow& row : rows) {
    list.push_back({{"term", row.term},
                    {"unit", row.unit},
                    {"predicted", value_of(row.predicted.value_or(0), row.unit)},
                    {"observed", value_of(row.observed, row.unit)},
                    {"error", finite(row.error)},
                    {"outcome", row.outcome}});
    good = good && row.outcome == "within";
  }
  return write_json({{"schema", "vramplan.log/1"},
                     {"verdict", good ? "within_tolerance" : "out_of_tolerance"},
                     {"engine", engine_object(forecast)},
                     {"rows", std::move(list)}});
}

}  // namespace vramplan::cli
