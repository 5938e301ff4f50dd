#include "planner/device_links.h"

#include <fmt/format.h>

#include <algorithm>

namespace vramplan {

void missing_in_card(const DeviceCard& device, const char* field) {
  throw Error(ErrorCode::kBadCard,
              fmt::format("device card {} says nothing about {}", device.name, field))
      .at(device.name, field)
      .help("add the value with its source, or run vramplan calibrate on the machine");
}

Link link_between(const DeviceCard& device, int ranks) {
  const std::int64_t node = device.devices_per_node.value;
  const bool across = node > 0 && ranks > node;
  const Link* best = nullptr;
  for (const Link& link : device.links) {
    const bool usable = across ? link.kind == LinkKind::kNetwork || link.kind == LinkKind::kWan
                               : link.kind == LinkKind::kNvlink || link.kind == LinkKind::kPcie;
    if (usable && (!best || link.bytes_per_s.value > best->bytes_per_s.value)) best = &link;
  }
  if (best) return *best;
  if (device.kind != DeviceKind::kCpu || across)
    missing_in_card(device, across ? "links (network)" : "links");
  return {LinkKind::kHbm, device.memory_bytes_per_s, {}};
}

bool has_far_link(const DeviceCard& device, KvPlacement placement) {
  const LinkKind kind = placement == KvPlacement::kDisk ? LinkKind::kNvme : LinkKind::kPcie;
  const bool copies = device.kind == DeviceKind::kCpu && placement == KvPlacement::kHost;
  return copies || std::any_of(device.links.begin(), device.links.end(), [&](const Link& link) {
           return link.kind == kind && link.bytes_per_s.value > 0;
         });
}

Link far_link(const DeviceCard& device, KvPlacement placement) {
  const LinkKind kind = placement == KvPlacement::kDisk ? LinkKind::kNvme : LinkKind::kPcie;
  for (const Link& link : device.links) {
    if (link.kind == kind && link.bytes_per_s.value > 0) return link;
  }
  if (placement == KvPlacement::kDisk) missing_in_card(device, "links (nvme)");
  if (device.kind != DeviceKind::kCpu) missing_in_card(device, "links (pcie)");
  Link copy{LinkKind::kHbm, device.memory_bytes_per_s, {}};
  copy.bytes_per_s.value *=
      (device.memory_efficiency.value > 0 ? device.memory_efficiency.value : 1.0) /
      2;  // read and written
  if (device.copy_bytes_per_s.value > 0) copy.bytes_per_s = device.copy_bytes_per_s;
  return copy;
}

SharedSpeeds far_speeds(const DeviceCard& device, KvPlacement placement) {
  if (placement == KvPlacement::kDisk) {
    const Sourced<double>& overlap = far_link(device, placement).overlap;
    return {1, overlap.source.empty() ? 1 : overlap.value};
  }
  if (device.kind != DeviceKind::kCpu) return {};
  // Beside each other for t, both d alone: t = d / share, and of 2 d - t the overlap is t's share.
  const double share = 1 / (2 - device.copy_overlap.value);
  return {share, share};
}

}  // namespace vramplan
