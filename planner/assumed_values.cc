#include "planner/assumed_values.h"

#include <fmt/format.h>

namespace vramplan {

std::vector<Assumption> assumed_values(const DeviceCard& device, const Decisions& decisions) {
  std::vector<Assumption> out;
  const auto check = [&](const char* field, const auto& sourced) {
    if (sourced.value == 0 || sourced.evidence != Evidence::kAssumed) return;
    out.push_back({fmt::format("{} of {}", field, device.name), fmt::format("{}", sourced.value),
                   "--device"});
  };
  check("capacity_bytes", device.capacity_bytes);
  check("memory_bytes_per_s", device.memory_bytes_per_s);
  check("memory_efficiency", device.memory_efficiency);
  check("compute_efficiency", device.compute_efficiency);
  check("launch_s", device.launch_s);
  check("process_base_bytes", device.process_base_bytes);
  if (device.kind == DeviceKind::kCpu) return out;
  check("context_bytes", device.context_bytes);
  check("module_bytes", device.module_bytes);
  check("workspace_bytes", device.workspace_bytes);
  if (decisions.output.n >= 3) check("graph_node_bytes", device.graph_node_bytes);
  if (decisions.device_count > 1) check("comm_bytes", device.comm_bytes);
  return out;
}

}  // namespace vramplan
