#pragma once
// PlanMatrix: the plans the recorder verifies, as JSON that the replay plans again from.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "modelcards/device_card.h"
#include "modelcards/library.h"
#include "planner/plan.h"

namespace vramplan::record {

/// One plan: a card or file, cut by `set` where the whole does not fit, and its shape. `technique`:
/// what the cache, the sequences or the memory beyond the device do differently, one of
/// techniques().
struct PlanCase {
  std::string model;
  std::vector<std::string> set;
  std::string weights;  // empty = as stored
  std::int64_t context = 0, output = 0, batch = 1;
  bool naive = false;
  std::string technique = {};  // empty = none
};

inline nlohmann::json to_json(const PlanCase& c) {
  nlohmann::json j = {{"model", c.model},     {"set", c.set},       {"weights", c.weights},
                      {"context", c.context}, {"output", c.output}, {"batch", c.batch},
                      {"naive", c.naive}};
  if (!c.technique.empty()) j["technique"] = c.technique;
  return j;
}

inline PlanCase case_from_json(const nlohmann::json& j) {
  return {j.at("model"),  j.at("set"),   j.at("weights"), j.at("context"),
          j.at("output"), j.at("batch"), j.at("naive"),   j.value("technique", "")};
}

/// Of technique "guess draft": a model of the 8B card's vocabulary.
inline const char* const kDraftOfRecords = "llama-3.2-1b";

/// Names are part of records: they keep their meaning.
inline const std::map<std::string, std::function<void(PlanRequest&)>>& techniques() {
  static const std::map<std::string, std::function<void(PlanRequest&)>> all{
      {"kv fp8", [](PlanRequest& r) { r.kv_format = KvFormat::kFp8; }},
      {"kv int8", [](PlanRequest& r) { r.kv_format = KvFormat::kInt8; }},
      {"kv q8_0", [](PlanRequest& r) { r.kv_format = KvFormat::kQ8_0; }},
      {"kv q4_0", [](PlanRequest& r) { r.kv_format = KvFormat::kQ4_0; }},
      {"kv kivi2", [](PlanRequest& r) { r.kv_format = KvFormat::kKivi2; }},
      {"kv kivi4", [](PlanRequest& r) { r.kv_format = KvFormat::kKivi4; }},
      {"kv strided", [](PlanRequest& r) { r.kv_policy = KvPolicy::kStrided; }},
      {"kv sinks", [](PlanRequest& r) { r.kv_policy = KvPolicy::kSinkWindow; }},
      {"kv mass", [](PlanRequest& r) { r.kv_policy = KvPolicy::kMass; }},
      {"kv host", [](PlanRequest& r) { r.kv_placement = KvPlacement::kHost; }},
      {"kv kivi2 host",
       [](PlanRequest& r) {
         r.kv_format = KvFormat::kKivi2;
         r.kv_placement = KvPlacement::kHost;
       }},
      {"kv disk", [](PlanRequest& r) { r.kv_placement = KvPlacement::kDisk; }},
      {"guess ngram", [](PlanRequest& r) { r.guess = Guess::kNgram; }},
      {"guess draft",
       [](PlanRequest& r) {
         r.guess = Guess::kDraft;
         r.draft = kDraftOfRecords;
       }},
      {"kv mass naive",
       [](PlanRequest& r) {
         r.kv_policy = KvPolicy::kMass;
         r.attention = AttentionAlgorithm::kNaive;
       }},
      {"fp8 inputs",
       [](PlanRequest& r) {
         r.weights = DType::kFp8Channel;
         r.linear_inputs = DType::kF8E4M3;
       }},
      {"weights half", [](PlanRequest& r) { r.weight_offload = 0.5; }},
      {"by layer", [](PlanRequest& r) { r.activation_offload = true; }},
      {"beams 4", [](PlanRequest& r) { r.beams = 4; }},
      {"samples 4", [](PlanRequest& r) { r.samples = 4; }},
      {"swap",
       [](PlanRequest& r) {
         r.preempt = PreemptRequest::kSwap;
         r.kv_pool = Tokens{r.context->n * *r.batch * 2 / 3};
       }},
      {"recompute",
       [](PlanRequest& r) {
         r.preempt = PreemptRequest::kRecompute;
         r.kv_pool = Tokens{r.context->n * *r.batch * 2 / 3};
       }},
  };
  return all;
}

inline ModelSource source_of_case(const PlanCase& c) {
  ModelSource source = open_model(c.model);
  for (const std::string& assignment : c.set) set_field(source.card, assignment);
  if (c.technique == "guess draft") {
    source.draft = std::make_shared<const ModelSource>(open_model(kDraftOfRecords));
  }
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
  if (!c.technique.empty()) {
    const auto found = techniques().find(c.technique);
    if (found == techniques().end()) {
      throw Error(ErrorCode::kUsage, "no technique '" + c.technique + "'").at("", "technique");
    }
    found->second(request);
  }
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
  cases.push_back({"llama-3.1-8b", {}, "fp8-channel", 4096, 64, 1, false});
  cases.push_back({"llama-3.1-8b", {}, "awq-int4", 4096, 64, 1, false});
  cases.push_back({"llama-3.1-8b", {}, "fp8-channel", 8192, 32, 16, false, "kv fp8"});
  cases.push_back({"llama-3.1-70b", {"layer_count=8"}, "", 8192, 32, 1, false});
  cases.push_back({"llama-3.1-70b", {"layer_count=8"}, "q4_0", 8192, 32, 16, false});
  // The 1B card with every technique: long enough for a history, few enough bytes for seconds.
  for (const auto& [name, ask] : techniques()) {
    const char* const model = name == "guess draft" ? "llama-3.1-8b" : "llama-3.2-1b";
    cases.push_back({model, {}, "", 4096, 96, 8, false, name});
  }
  return cases;
}

/// For the fake device: what takes a test a moment.
inline std::vector<PlanCase> small_matrix() {
  std::vector<PlanCase> cases;
  for (const char* technique : {"", "kv kivi2 host", "kv disk", "guess ngram", "weights half"}) {
    cases.push_back({"smollm2-135m", {"layer_count=2"}, "", 24, 4, 2, false, technique});
  }
  return cases;
}

}  // namespace vramplan::record
