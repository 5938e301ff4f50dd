#include "planner/published_rates.h"

#include <cstring>
#include <map>
#include <tuple>

#include "modelcards/error.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

constexpr double kIntegerLanes = 64;
constexpr double kSlowestClock = 1.2e9;  // Hz; no card of 128 lanes boosts to less

using ReleaseKey = std::pair<std::string, std::string>;  // engine, release

struct Rates {
  std::map<std::string, double> memory;  // by device
  std::map<ReleaseKey, double> steps;
  std::map<std::tuple<std::string, std::string, std::string>, double> experts;  // and format
  double unpack = 0;
  LlamacppRates llamacpp;
};

LlamacppRates read_llamacpp(const YamlNode& node) {
  node.allow_only({"memory", "prompt_memory", "compute", "layer_s", "quantised_ops", "plain_ops",
                   "unpack_ops", "overlap_plain", "overlap_quantised", "step_error",
                   "prompt_error"});
  LlamacppRates out;
  out.memory = node.at("memory").real(0.01, 2);
  out.prompt_memory = node.at("prompt_memory").real(0.01, 2);
  out.compute = node.at("compute").real(0.01, 2);
  out.layer_s = node.at("layer_s").real(0, 1);
  out.quantised_ops = node.at("quantised_ops").real(0, 1e3);
  out.plain_ops = node.at("plain_ops").real(0, 1e3);
  out.unpack_ops = node.at("unpack_ops").real(0, 1e3);
  out.overlap_plain = node.at("overlap_plain").real(0, 1);
  out.overlap_quantised = node.at("overlap_quantised").real(0, 1);
  out.step_error = node.at("step_error").real(0, 10);
  out.prompt_error = node.at("prompt_error").real(0, 10);
  return out;
}

Rates read_rates() {
  const char* text = nullptr;
  for (const EmbeddedTable* table = kEngineTables; table->name != nullptr; ++table) {
    if (std::strcmp(table->name, "rates") == 0) text = table->text;
  }
  VRAMPLAN_CHECK(text != nullptr);
  const YamlNode root = YamlNode::parse(text, "rates.yaml");
  root.allow_only({"source", "devices", "steps", "experts", "unpack", "llamacpp"});
  Rates out;
  const YamlNode devices = root.at("devices"), steps = root.at("steps");
  const YamlNode experts = root.at("experts");
  for (std::size_t i = 0; i < devices.size(); ++i) {
    devices.at(i).allow_only({"device", "memory"});
    out.memory[devices.at(i).at("device").text()] = devices.at(i).at("memory").real(0.05, 1.5);
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const YamlNode node = steps.at(i);
    node.allow_only({"engine", "release", "step_s"});
    out.steps[{node.at("engine").text(), node.at("release").text()}] = node.at("step_s").real(0, 1);
  }
  for (std::size_t i = 0; i < experts.size(); ++i) {
    const YamlNode node = experts.at(i);
    node.allow_only({"engine", "release", "format", "layer_s"});
    out.experts[{node.at("engine").text(), node.at("release").text(), node.at("format").text()}] =
        node.at("layer_s").real(0, 1);
  }
  out.unpack = root.at("unpack").real(0, 1e3);
  out.llamacpp = read_llamacpp(root.at("llamacpp"));
  return out;
}

const Rates& rates() {
  static const Rates kRates = read_rates();
  return kRates;
}

}  // namespace

ServedRates served_rates(EngineKind engine, const std::string& release, const std::string& device,
                         Quantization format) {
  const Rates& all = rates();
  ServedRates out;
  const auto memory = all.memory.find(device);
  if (memory != all.memory.end()) out.memory = memory->second;
  const auto step = all.steps.find({name_of(engine), release});
  if (step != all.steps.end()) out.step_s = step->second;
  const auto experts = all.experts.find({name_of(engine), release, name_of(format)});
  if (experts != all.experts.end()) out.expert_layer_s = experts->second;
  out.unpack = all.unpack;
  return out;
}

const LlamacppRates& llamacpp_rates() { return rates().llamacpp; }

int float_lanes(const DeviceCard& device) {
  const auto f32 = device.flops_per_s.find("f32");
  const auto units = static_cast<double>(device.multiprocessors.value);
  if (f32 == device.flops_per_s.end() || f32->second.value <= 0 || units <= 0) return 0;
  return f32->second.value / (units * 2 * 128) >= kSlowestClock ? 128 : 64;
}

double integer_ops_per_s(const DeviceCard& device) {
  const int lanes = float_lanes(device);
  if (lanes == 0) return 0;
  return device.flops_per_s.at("f32").value / (2.0 * lanes) * kIntegerLanes;
}

}  // namespace vramplan
