#pragma once
// PlanMatrix: the plans the recorder verifies, as JSON that the replay plans again from.
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "modelcards/device_card.h"
#include "modelcards/library.h"
#include "planner/plan.h"

namespace vramplan::record {

/// One plan: a card or file, cut by `set` where the whole does not fit, and its shape.
struct PlanCase {
  std::string model;
  std::vector<std::string> set;
  std::string weights;  // empty = as stored
  std::int64_t context = 0, output = 0, batch = 1;
  bool naive = false;
};

inline nlohmann::json to_json(const PlanCase& c) {
  return {{"model", c.model},   {"set", c.set},     {"weights", c.weights}, {"context", c.context},
          {"output", c.output}, {"batch", c.batch}, {"naive", c.naive}};
}

inline PlanCase case_from_json(const nlohmann::json& j) {
  return {j.at("model"),  j.at("set"),   j.at("weights"), j.at("context"),
          j.at("output"), j.at("batch"), j.at("naive")};
}

inline ModelSource source_of_case(const PlanCase& c) {
  ModelSource source = open_model(c.model);
  for (const std::string& assignment : c.set) set_field(source.card, assignment);
  return source;
}

inline Plan plan_case(const PlanCase& c, const ModelSource& source, const DeviceCard& device) {
  PlanRequest request;
  request.model = c.model;
  request.set = c.set;
  request.device = device.name;
  request.context = Tokens{c.context};
  request.output = Tokens{c.output};
  request.batch = c.batch;
  if (!c.weights.empty()) request.weights = dtype_from_name(c.weights);
  if (c.naive) request.attention = AttentionAlgorithm::kNaive;
  return make_plan(source, device, request);
}

/// `gguf`: SmolLM2 with real weights, empty = left out. A 70B-class model is cut to 8 layers.
inline std::vector<PlanCase> plan_matrix(const std::string& gguf) {
  std::vector<PlanCase> cases;
  if (!gguf.empty()) {
    cases.push_back({gguf, {}, "", 1024, 64, 1, false});
    cases.push_back({gguf, {}, "", 2048, 32, 16, false});
  }
  cases.push_back({"llama-3.2-1b", {}, "", 1024, 64, 1, false});
  cases.push_back({"llama-3.2-1b", {}, "", 8192, 32, 32, false});
  cases.push_back({"llama-3.2-1b", {}, "", 1024, 32, 256, false});
  cases.push_back({"llama-3.2-1b", {}, "", 4096, 4, 1, true});
  cases.push_back({"llama-3.1-8b", {}, "", 4096, 64, 1, false});
  cases.push_back({"llama-3.1-8b", {}, "", 32768, 32, 4, false});
  cases.push_back({"llama-3.1-8b", {}, "", 131072, 16, 1, false});
  cases.push_back({"llama-3.1-8b", {}, "q4_0", 4096, 64, 1, false});
  cases.push_back({"llama-3.1-8b", {}, "q4_k", 8192, 32, 8, false});
  cases.push_back({"llama-3.1-70b", {"layer_count=8"}, "", 8192, 32, 1, false});
  cases.push_back({"llama-3.1-70b", {"layer_count=8"}, "q4_0", 8192, 32, 16, false});
  return cases;
}

}  // namespace vramplan::record
