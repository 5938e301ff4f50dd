#include "planner/kernel_cost.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <map>
#include <tuple>

#include "modelcards/error.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

using Key = std::tuple<std::string, std::string, std::string, std::string, int>;
using Rows = std::map<Key, KernelCost>;

Rows read_rows() {
  const char* text = nullptr;
  for (const EmbeddedTable* table = kEngineTables; table->name != nullptr; ++table) {
    if (std::strcmp(table->name, "kernels") == 0) text = table->text;
  }
  VRAMPLAN_CHECK(text != nullptr);
  const YamlNode list = YamlNode::parse(text, "kernels.yaml").at("rows");
  Rows rows;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const YamlNode node = list.at(i);
    KernelCost cost;
    cost.call_s = node.at("call_s").real(0, 1);
    cost.each_s = node.at("each_s").real(0, 1);
    cost.memory = node.at("memory").real(1e-3, 1e3);
    cost.compute = node.at("compute").real(1e-3, 1e3);
    cost.power = node.at("power").real(0.1, 100);
    cost.error = node.at("error").real(0, 1e3);
    cost.dtype = node.at("dtype").text();
    cost.source = node.at("source").text();
    rows[{node.at("op").text(), node.at("engine").text(), node.at("device").text(), cost.dtype,
          static_cast<int>(node.at("ranks").integer(1, 1024))}] = cost;
  }
  return rows;
}

const Rows& rows() {
  static const Rows kRows = read_rows();
  return kRows;
}

}  // namespace

const char* name_of(KernelOp op) {
  switch (op) {
    case KernelOp::kGemm:
      return "gemm";
    case KernelOp::kAttentionPrefill:
      return "attention_prefill";
    case KernelOp::kAttentionDecode:
      return "attention_decode";
    case KernelOp::kLatentPrefill:
      return "latent_prefill";
    case KernelOp::kLatentDecode:
      return "latent_decode";
    case KernelOp::kExperts:
      return "experts";
    case KernelOp::kAllReduce:
      return "all_reduce";
  }
  return "?";
}

double KernelCost::work_seconds(double bytes_s, double flops_s, double x) const {
  const double moved = bytes_s / memory, computed = flops_s / compute;
  const double longest = std::max(moved, computed);
  if (longest <= 0) return each_s * x;
  // Scaled by the longer part, so that no power of a small number underflows.
  const double sum = std::pow(moved / longest, power) + std::pow(computed / longest, power);
  return each_s * x + longest * std::pow(sum, 1 / power);
}

double KernelCost::seconds(double bytes_s, double flops_s, double x) const {
  return call_s + work_seconds(bytes_s, flops_s, x);
}

KernelCost kernel_cost(KernelOp op, EngineKind engine, const DeviceCard& device,
                       const std::string& dtype, int ranks) {
  const bool fp4 = device.flops_per_s.count("fp4") > 0;
  const std::string like = fp4 ? "b200-sxm-180gb" : "h200-sxm-141gb";
  const int group = ranks <= 2 ? ranks : ranks <= 4 ? 4 : 8;
  for (const std::string& name : {device.name, like}) {
    for (const std::string& format : {dtype, std::string("bf16")}) {
      const auto found = rows().find({name_of(op), name_of(engine), name, format, group});
      if (found == rows().end()) continue;
      KernelCost cost = found->second;
      cost.other_device = name != device.name;
      return cost;
    }
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("no kernel times of {} for {}", name_of(engine), name_of(op)))
      .at("", "--engine")
      .help("serving times exist for vllm, sglang and trtllm");
}

}  // namespace vramplan
