#include "bench/accuracy/throughput_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/accuracy/csv.h"
#include "bench/accuracy/serving_cases.h"
#include "modelcards/library.h"

namespace vramplan::accuracy {
namespace {

/// Names of models and devices in the rows, and our cards. LLaMA without a number is the second:
/// same shapes.
const std::map<std::string, std::string> kCards = {
    {"Llama-3.1-8B", "llama-3.1-8b"},     {"Llama-3.3-70B", "llama-3.3-70b"},
    {"Llama-3.1-405B", "llama-3.1-405b"}, {"Meta-Llama-3-70B", "llama-3-70b"},
    {"LLaMA 7B", "llama-2-7b"},           {"LLaMA 70B", "llama-2-70b"},
    {"Qwen3-30B-A3B", "qwen3-30b-a3b"},   {"Qwen3-235B-A22B", "qwen3-235b-a22b"},
    {"Qwen3-32B", "qwen3-32b"},           {"Qwen3-4B", "qwen3-4b"},
    {"Qwen3-1.7B", "qwen3-1.7b"},         {"Qwen3-0.6B", "qwen3-0.6b"},
    {"Qwen2.5-0.5B", "qwen2.5-0.5b"},     {"Qwen2.5-1.5B", "qwen2.5-1.5b"},
    {"Qwen2.5-3B", "qwen2.5-3b"},         {"Qwen2.5-7B", "qwen2.5-7b"},
    {"Qwen2.5-14B", "qwen2.5-14b"},       {"Qwen2.5-32B", "qwen2.5-32b"},
    {"Qwen2.5-72B", "qwen2.5-72b"}};
const std::map<std::string, std::string> kDevices = {
    {"H200-SXM-141GB", "h200-sxm-141gb"},
    {"H100-SXM-80GB", "h100-sxm-80gb"},
    {"B200-180GB", "b200-sxm-180gb"},
    {"A100-80GB", "a100-sxm-80gb"},
    {"L40S-48GB", "l40s-48gb"},
    {"H20-96GB", "h20-sxm-96gb"},
    {"NVIDIA GeForce RTX 3090", "rtx-3090-24gb"},
    {"NVIDIA GeForce RTX 4090", "rtx-4090-24gb"},
    {"NVIDIA A100 80GB PCIe", "a100-pcie-80gb"},
    {"NVIDIA A100-SXM4-80GB", "a100-sxm-80gb"},
    {"NVIDIA A40", "a40-48gb"},
    {"NVIDIA L40S", "l40s-48gb"},
    {"NVIDIA RTX A6000", "a6000-48gb"},
    {"NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada-48gb"}};

bool has(const std::string& text, const char* word) { return text.find(word) != std::string::npos; }

std::string quantization_of(const Row& row, const std::string& device) {
  const std::string& text = row.at("dtype_quant");
  if (has(text, "FP4") && device == "b200-sxm-180gb") return "nvfp4";
  // Qwen's own fp8 checkpoints are scaled in blocks of 128 x 128.
  if (has(text, "FP8") && has(row.at("model"), "Qwen/Qwen3")) return "fp8_block";
  if (has(text, "FP8") || has(text, "FP4")) return "fp8";
  if (has(text, "Int8")) return "int8";
  if (has(text, "AWQ") || has(text, "t4") || has(text, "INT4")) return "int4";
  return "none";
}

std::int64_t whole(const Row& row, const char* key) {
  return static_cast<std::int64_t>(std::lround(number(row, key)));
}

/// The release as runs name it: "SGLang 0.4.6.post1" -> "0.4.6.post1".
std::string release_of(const Row& row) {
  const std::string& text = row.at("engine_version");
  const std::size_t space = text.rfind(' ');
  const bool word = space != std::string::npos && text.rfind(row.at("engine"), 0) == 0;
  return word ? text.substr(space + 1) : text;
}

struct Asked {
  ModelSource source;
  DeviceCard device;
  Decisions decisions;
  EngineRequest request;
  EngineForecast forecast;
  ServingLoad load;

  double request_seconds(const ServedRates& rates) {
    load.rates = rates;
    return 1 /
           forecast_serving(source, device, decisions, request, forecast, load).requests_per_second;
  }
};

/// What the fit needs of a request that is alone in its engine.
void fill_terms(Asked asked, ThroughputCase& c) {
  ServedRates none;
  c.tokens = static_cast<double>(asked.load.output.n);
  c.request_s = asked.request_seconds(none);
  const auto grown = [&](const ServedRates& rates) {
    return asked.request_seconds(rates) - c.request_s;
  };
  ServedRates half = none, step = none, unpack = none, experts = none;
  half.memory = 0.5;
  step.step_s = 1e-3;
  unpack.unpack = 1;
  experts.expert_layer_s = 1e-3;
  c.memory_s = grown(half);
  c.step_s = grown(step);
  c.unpack_s = grown(unpack);
  c.experts_s = grown(experts);
  c.group = "served";
}

/// A served model: forecast_serving at the stated requests, or as many as the engine takes.
void predict_served(const Row& row, ThroughputCase& c, EngineKind kind) {
  Asked a;
  a.source = open_model(c.model);
  a.device = device_card(c.device);
  const bool most = has(c.batch, "max");
  const std::int64_t requests = most ? 4096 : whole(row, "batch_or_concurrency");
  a.load = {{whole(row, "input_len")}, {whole(row, "output_len")}, requests};
  // A static batch of the engine's own benchmark: no server, no arrivals.
  const bool one_batch =
      has(row.at("notes"), "static batch") || row.at("metric") == "first token latency";
  a.load.arrival = one_batch ? Arrival::kStatic : Arrival::kSteady;
  a.load.release = c.release;
  a.decisions.sharding.tp = a.decisions.device_count = c.ranks;
  a.decisions.context = a.load.input + a.load.output;
  a.decisions.capacity = {a.device.capacity_bytes.value};
  a.request.id.kind = kind;
  a.request.quantization = c.format;
  a.request.max_num_seqs = std::min<std::int64_t>(std::max<std::int64_t>(requests, 1), 2048);
  if (kind == EngineKind::kTrtllm && c.format != "none") a.request.kv_cache_dtype = "fp8";
  a.forecast = forecast_engine(a.source, a.device, a.decisions, a.request).devices.front();
  const ServingForecast s =
      forecast_serving(a.source, a.device, a.decisions, a.request, a.forecast, a.load);
  if (row.at("metric") == "first token latency") {
    c.what = "first token";
    c.observed = 1e3 / number(row, "value");
    c.predicted = 1 / s.ttft.v;
    return;
  }
  c.what = "tokens a second";
  c.observed = number(row, "value");
  // Some pages count the prompt's tokens too; others give the rate of one device.
  double counted = 1;
  if (has(row.at("notes"), "INCLUDES prompt")) {
    counted = 1 + number(row, "input_len") / number(row, "output_len");
  }
  if (row.at("unit") == "tok/s/GPU") counted /= c.ranks;
  c.predicted = s.tokens_per_second * counted;
  if (requests == 1 && kind != EngineKind::kTrtllm) {
    fill_terms(a, c);
    c.observed = number(row, "value");
    c.tokens *= counted;
  }
}

/// llama.cpp's Q4_K_M: half of the down projections and of the values, and the head, in q6_k, the
/// rest in q4_k ("uses GGML_TYPE_Q6_K for half of the attention.wv and feed_forward.w2 tensors",
/// README of llama.cpp's quantize; the half is the first eighth, the last and every third between).
std::vector<StoredTensor> q4_k_m(const ModelCard& card, Decisions decisions) {
  decisions.sharding = {};
  decisions.weights = DType::kQ4_K;
  const auto layers = static_cast<int>(card.layers.size());
  std::vector<StoredTensor> out;
  for (const WeightTensor& tensor : rank_weight_tensors(card, decisions, 0, {})) {
    StoredTensor stored{tensor.name, tensor.dtype, tensor.rows, tensor.columns, {}};
    const int layer = tensor.name.rfind("blk.", 0) == 0 ? std::stoi(tensor.name.substr(4)) : 0;
    const bool more =
        layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
    const bool half = tensor.part == Part::kDown || tensor.part == Part::kV;
    if (tensor.part == Part::kHead || (half && more)) stored.dtype = DType::kQ6_K;
    stored.bytes = bytes_of(stored.dtype, stored.rows, stored.columns, 1);
    out.push_back(std::move(stored));
  }
  return out;
}

/// llama.cpp: layers split over the devices, one sequence, without flash attention.
void predict_llamacpp(const Row& row, ThroughputCase& c) {
  ModelSource source = open_model(c.model);
  const DeviceCard device = device_card(c.device);
  const bool decode = row.at("metric") == "decode";
  Decisions d;
  d.sharding.pp = d.device_count = c.ranks;
  d.weights = DType::kF16;
  if (c.format == "q4_k") {
    source.stored = q4_k_m(source.card, d);
    d.weights.reset();
  }
  std::vector<RankModel> stages;
  for (int stage = 0; stage < c.ranks; ++stage) {
    stages.push_back(rank_model(source.card, d, source.stored, stage));
  }
  LlamacppLoad load;
  (decode ? load.output : load.input) = {whole(row, decode ? "output_len" : "input_len")};
  c.llamacpp = llamacpp_terms(stages, device, load);
  const LlamacppTimes times = llamacpp_times(c.llamacpp, llamacpp_rates());
  c.what = decode ? "decode" : "prefill";
  c.group = decode ? "step" : "prompt";
  c.tokens = decode ? 1 : static_cast<double>(load.input.n);
  c.observed = number(row, "value");
  c.predicted = c.tokens / (decode ? times.step.v : times.prompt.v);
}

/// Empty when the row is modelled, else why not.
std::string left_out(const Row& row, const ThroughputCase& c) {
  const bool llama = c.engine.rfind("llama.cpp", 0) == 0;
  const bool served =
      c.engine.rfind("TensorRT", 0) == 0 || c.engine == "vLLM" || c.engine == "SGLang";
  if (!served && !llama) return "no model of " + c.engine;
  if (c.model.empty()) return "no card: " + row.at("model");
  if (c.device.empty()) return "no card: " + row.at("gpu");
  if (c.input.empty() || c.output.empty()) return "no lengths stated";
  return has(c.batch, "requests") ? "lengths are a range" : "";
}

void add(const Row& row, ThroughputCases& table) {
  ThroughputCase c;
  c.id = row.at("id");
  c.engine = row.at("engine");
  c.release = release_of(row);
  c.batch = row.at("batch_or_concurrency");
  c.input = row.at("input_len");
  c.output = row.at("output_len");
  for (const auto& [word, card] : kCards) {
    if (has(row.at("model"), word.c_str())) c.model = card;
  }
  const auto device = kDevices.find(row.at("gpu"));
  if (device != kDevices.end()) c.device = device->second;
  if (const std::string why = left_out(row, c); !why.empty()) {
    ++table.left_out[why];
    return;
  }
  const bool llama = c.engine.rfind("llama.cpp", 0) == 0;
  const std::string& tp = row.at("tp");
  const std::string& count = row.at("n_gpu");
  const std::string& ranks = !tp.empty() && !llama ? tp : count;
  c.ranks = ranks.empty() ? 1 : static_cast<int>(std::stod(ranks));
  const bool packed = row.at("dtype_quant").rfind("Q4_K", 0) == 0;
  c.format = llama ? (packed ? "q4_k" : "f16") : quantization_of(row, c.device);
  c.question = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}", c.engine, c.model, c.device, c.format,
                           c.ranks, c.batch, c.input, c.output, row.at("metric"));
  c.fit = in_fit_half(c.question);
  try {
    if (llama) {
      predict_llamacpp(row, c);
    } else {
      predict_served(row, c,
                     c.engine == "vLLM"     ? EngineKind::kVllm
                     : c.engine == "SGLang" ? EngineKind::kSglang
                                            : EngineKind::kTrtllm);
    }
    table.cases.push_back(c);
  } catch (const Error& error) {
    ++table.left_out[error.message()];
  }
}

}  // namespace

ThroughputCases read_throughput_cases(const std::string& truth) {
  ThroughputCases table;
  for (const Row& row : read_csv(truth + "/throughput_cases.csv").rows) add(row, table);
  return table;
}

}  // namespace vramplan::accuracy
