#include "cli/cards_json.h"

#include <nlohmann/json.hpp>

namespace vramplan::cli {
namespace {

using nlohmann::json;

std::string text_of(const json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

const char* word(Evidence evidence) {
  switch (evidence) {
    case Evidence::kDatasheet:
      return "datasheet";
    case Evidence::kMeasured:
      return "measured";
    case Evidence::kAssumed:
      return "assumed";
  }
  return "assumed";
}

const char* word(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::kGpu:
      return "gpu";
    case DeviceKind::kCpu:
      return "cpu";
    case DeviceKind::kSram:
      return "sram";
  }
  return "gpu";
}

const char* word(LinkKind kind) {
  static constexpr const char* kWords[] = {"sram",    "hbm",  "nvlink", "pcie",
                                           "network", "nvme", "wan"};
  return kWords[static_cast<std::size_t>(kind)];
}

template <class T>
json sourced(const Sourced<T>& number) {
  if (number.source.empty()) return nullptr;  // the card does not say
  return {{"value", number.value}, {"evidence", word(number.evidence)}, {"source", number.source}};
}

json model_object(const ModelCard& card) {
  const Mixer& mixer = card.layers.front().mixer;
  const FeedForward& forward = card.layers.front().feed_forward;
  return {{"name", card.name},
          {"title", card.title},
          {"family", card.family},
          {"source", card.source},
          {"evidence", card.evidence},
          {"layer_count", card.layer_count()},
          {"hidden", card.hidden},
          {"heads", mixer.heads},
          {"kv_heads", mixer.kv_heads},
          {"head_dim", mixer.head_dim},
          {"intermediate", forward.intermediate},
          {"experts", forward.experts},
          {"experts_per_token", forward.experts_per_token},
          {"vocab", card.vocab},
          {"context_limit_tokens", card.context_limit},
          {"tied_head", card.tied_head},
          {"stored_weights", info(card.stored_weights).name}};
}

json device_object(const DeviceCard& card) {
  json peaks = json::object();
  for (const auto& [dtype, peak] : card.flops_per_s) peaks[dtype] = sourced(peak);
  json links = json::array();
  for (const Link& link : card.links) {
    links.push_back({{"kind", word(link.kind)},
                     {"bytes_per_s", sourced(link.bytes_per_s)},
                     {"latency_s", sourced(link.latency_s)}});
    if (link.write_bytes_per_s.value <= 0) continue;
    links.back().update({{"write_bytes_per_s", sourced(link.write_bytes_per_s)},
                         {"write_latency_s", sourced(link.write_latency_s)},
                         {"overlap", sourced(link.overlap)}});
  }
  return {{"name", card.name},
          {"title", card.title},
          {"kind", word(card.kind)},
          {"capacity_bytes", sourced(card.capacity_bytes)},
          {"memory_bytes_per_s", sourced(card.memory_bytes_per_s)},
          {"memory_efficiency", sourced(card.memory_efficiency)},
          {"compute_efficiency", sourced(card.compute_efficiency)},
          {"multiprocessors", sourced(card.multiprocessors)},
          {"context_bytes", sourced(card.context_bytes)},
          {"module_bytes", sourced(card.module_bytes)},
          {"workspace_bytes", sourced(card.workspace_bytes)},
          {"process_base_bytes", sourced(card.process_base_bytes)},
          {"replica_base_bytes", sourced(card.replica_base_bytes)},
          {"copy_bytes_per_s", sourced(card.copy_bytes_per_s)},
          {"copy_overlap", sourced(card.copy_overlap)},
          {"comm_bytes", sourced(card.comm_bytes)},
          {"graph_node_bytes", sourced(card.graph_node_bytes)},
          {"launch_s", sourced(card.launch_s)},
          {"host_capacity_bytes", sourced(card.host_capacity_bytes)},
          {"devices_per_node", sourced(card.devices_per_node)},
          {"price_per_hour_usd", sourced(card.price_per_hour_usd)},
          {"flops_per_s", peaks},
          {"links", links},
          {"op_cost_lines", card.op_costs.size()}};
}

template <class Card, class ToObject>
std::string list_json(const char* schema, const char* name, const std::vector<Card>& cards,
                      ToObject to_object) {
  json list = json::array();
  for (const Card& card : cards) list.push_back(to_object(card));
  return text_of({{"schema", schema}, {name, list}});
}

}  // namespace

std::string models_json(const std::vector<ModelCard>& cards) {
  return list_json("vramplan.models/1", "models", cards, model_object);
}

std::string model_json(const ModelCard& card) {
  return text_of({{"schema", "vramplan.model/1"}, {"model", model_object(card)}});
}

std::string devices_json(const std::vector<DeviceCard>& cards) {
  return list_json("vramplan.devices/1", "devices", cards, device_object);
}

std::string device_json(const DeviceCard& card) {
  return text_of({{"schema", "vramplan.device/1"}, {"device", device_object(card)}});
}

}  // namespace vramplan::cli
