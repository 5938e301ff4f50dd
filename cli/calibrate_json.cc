#include "cli/calibrate_json.h"

#include <nlohmann/json.hpp>

namespace vramplan::cli {

std::string calibration_json(const Calibration& calibration, const std::string& path) {
  const DeviceCard& card = calibration.card;
  nlohmann::json ops = nlohmann::json::array();
  for (const auto& op : calibration.ops) {
    ops.push_back({{"op", op.cost.op},
                   {"dtype", op.cost.dtype},
                   {"call_seconds", op.cost.call_s},
                   {"bytes_per_s", op.cost.bytes_per_s},
                   {"flops_per_s", op.cost.flops_per_s},
                   {"points", op.points.size()},
                   {"median_error", op.fit.median_error},
                   {"worst_error", op.fit.worst_error}});
  }
  const nlohmann::json object = {{"schema", "vramplan.calibration/1"},
                                 {"path", path},
                                 {"title", card.title},
                                 {"source", card.multiprocessors.source},
                                 {"capacity_bytes", card.capacity_bytes.value},
                                 {"process_base_bytes", card.process_base_bytes.value},
                                 {"replica_base_bytes", card.replica_base_bytes.value},
                                 {"memory_bytes_per_s", card.memory_bytes_per_s.value},
                                 {"op_costs", ops}};
  return object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace vramplan::cli
