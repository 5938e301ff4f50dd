// Published tokens a second beside the planner's: usage: throughput_accuracy TRUTH. Nothing is
// fitted to these rows. Writes Markdown to stdout; ends with 77 when TRUTH is not there.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>

#include "bench/accuracy/csv.h"
#include "modelcards/library.h"
#include "planner/serving.h"

namespace vramplan::accuracy {
namespace {

using Row = std::map<std::string, std::string>;

struct Case {
  std::string id, engine, model, device, format, what;
  int ranks = 1;
  std::string batch, input, output;
  double observed = 0, predicted = 0;  // tokens a second, or a first token's rate 1 / s
  double error() const { return predicted / observed - 1; }
};

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

std::string quantization_of(const std::string& text, const std::string& device) {
  if (text.find("FP4") != std::string::npos && device == "b200-sxm-180gb") return "nvfp4";
  if (text.find("FP8") != std::string::npos || text.find("FP4") != std::string::npos) return "fp8";
  if (text.find("Int8") != std::string::npos) return "int8";
  if (text.find("AWQ") != std::string::npos || text.find("t4") != std::string::npos ||
      text.find("INT4") != std::string::npos) {
    return "int4";
  }
  return "none";
}

std::int64_t whole(const Row& row, const char* key) {
  return static_cast<std::int64_t>(std::lround(number(row, key)));
}

/// A served model: forecast_serving at the stated requests, or as many as the engine takes.
void predict_served(const Row& row, Case& c, EngineKind kind) {
  const ModelSource source = open_model(c.model);
  const DeviceCard device = device_card(c.device);
  const bool most = c.batch.find("max") != std::string::npos;
  const std::int64_t requests = most ? 4096 : whole(row, "batch_or_concurrency");
  ServingLoad load{{whole(row, "input_len")}, {whole(row, "output_len")}, requests};
  load.arrival = Arrival::kSteady;
  Decisions d;
  d.sharding.tp = d.device_count = c.ranks;
  d.context = load.input + load.output;
  d.capacity = {device.capacity_bytes.value};
  EngineRequest request;
  request.id.kind = kind;
  request.quantization = c.format;
  request.max_num_seqs = std::min<std::int64_t>(std::max<std::int64_t>(requests, 1), 2048);
  if (kind == EngineKind::kTrtllm && c.format != "none") request.kv_cache_dtype = "fp8";
  const EngineOutcome outcome = forecast_engine(source, device, d, request);
  const ServingForecast s =
      forecast_serving(source, device, d, request, outcome.devices.front(), load);
  if (row.at("metric") == "first token latency") {
    c.what = "first token";
    c.observed = 1e3 / number(row, "value");
    c.predicted = 1 / s.ttft.v;
    return;
  }
  c.what = "tokens a second";
  c.observed = number(row, "value");
  c.predicted = s.tokens_per_second;
  if (row.at("unit") == "tok/s/GPU") c.predicted /= c.ranks;
  // Some pages count the prompt's tokens too.
  if (row.at("notes").find("INCLUDES prompt") != std::string::npos) {
    c.predicted *= 1 + number(row, "input_len") / number(row, "output_len");
  }
}

/// llama.cpp: the plan's own times, layers split over the devices.
void predict_planned(const Row& row, Case& c) {
  const ModelSource source = open_model(c.model);
  const DeviceCard device = device_card(c.device);
  const bool decode = row.at("metric") == "decode";
  PlanRequest request;
  request.count = c.ranks;
  request.tp = 1;
  request.pp = c.ranks;
  request.batch = 1;
  request.output = Tokens{decode ? whole(row, "output_len") : 1};
  request.context = *request.output + Tokens{decode ? 1 : whole(row, "input_len")};
  if (c.format == "q4_k") request.weights = DType::kQ4_K;
  if (c.format == "f16") request.weights = DType::kF16;
  request.kv_format = KvFormat::kF16;
  const Plan plan = make_plan(source, device, request);
  const Performance& p = plan.predictions.performance;
  c.what = decode ? "decode" : "prefill";
  c.observed = number(row, "value");
  c.predicted = decode ? 1 / p.tpot.v : p.prefill_tokens_per_second;
}

struct Table {
  std::vector<Case> cases;
  std::map<std::string, int> left_out;
};

void add(const Row& row, Table& table) {
  Case c;
  c.id = row.at("id");
  c.engine = row.at("engine");
  c.batch = row.at("batch_or_concurrency");
  c.input = row.at("input_len");
  c.output = row.at("output_len");
  for (const auto& [word, card] : kCards) {
    if (row.at("model").find(word) != std::string::npos) c.model = card;
  }
  const auto device = kDevices.find(row.at("gpu"));
  const bool llama = c.engine.rfind("llama.cpp", 0) == 0;
  const bool served =
      c.engine.rfind("TensorRT", 0) == 0 || c.engine == "vLLM" || c.engine == "SGLang";
  std::string why;
  if (!served && !llama) why = "no model of " + c.engine;
  if (why.empty() && c.model.empty()) why = "no card: " + row.at("model");
  if (why.empty() && device == kDevices.end()) why = "no card: " + row.at("gpu");
  if (why.empty() && (c.input.empty() || c.output.empty())) why = "no lengths stated";
  if (why.empty() && c.batch.find("requests") != std::string::npos) why = "lengths are a range";
  if (!why.empty()) {
    ++table.left_out[why];
    return;
  }
  c.device = device->second;
  const std::string& tp = row.at("tp");
  const std::string& count = row.at("n_gpu");
  const std::string& ranks = !tp.empty() && !llama ? tp : count;
  c.ranks = ranks.empty() ? 1 : static_cast<int>(std::stod(ranks));
  const std::string& stored = row.at("dtype_quant");
  c.format =
      llama ? (stored.rfind("Q4_K", 0) == 0 ? "q4_k" : "f16") : quantization_of(stored, c.device);
  try {
    if (llama) {
      predict_planned(row, c);
    } else {
      const EngineKind kind = c.engine == "vLLM"     ? EngineKind::kVllm
                              : c.engine == "SGLang" ? EngineKind::kSglang
                                                     : EngineKind::kTrtllm;
      predict_served(row, c, kind);
    }
    table.cases.push_back(c);
  } catch (const Error& error) {
    ++table.left_out[error.message()];
  }
}

void print_line(const Table& table, const std::string& name,
                const std::function<bool(const Case&)>& pick) {
  std::vector<double> all;
  double mean = 0, bias = 0;
  for (const Case& c : table.cases) {
    if (!pick(c)) continue;
    all.push_back(std::abs(c.error()));
    mean += all.back();
    bias += c.error();
  }
  if (all.empty()) return;
  const double n = static_cast<double>(all.size());
  std::sort(all.begin(), all.end());
  fmt::print("| {} | {} | {:.1f} | {:.1f} | {:+.1f} |\n", name, all.size(), 100 * mean / n,
             100 * all[all.size() / 2], 100 * bias / n);
}

/// The worst classes, each with what its own rows say about the cause.
void print_causes(const Table& table) {
  fmt::print(
      "\n## The worst classes and their causes\n\n"
      "- SGLang 0.4.6 on an H20: at one request every format of Qwen3-32B reads its weights at 1.4 "
      "to 1.6 TB/s, of 4.0 TB/s on the data sheet (20.7 tokens a second in 16 bits, 46.2 in fp8). "
      "No kernel timed on an H20 is published: those of an H200 are taken, which reach 0.87.\n"
      "- Experts in int4 there: 120 tokens a second where fp8 has 551 (Qwen3-30B-A3B, 6,144 "
      "tokens): that version has no fused kernel for them. Dense int4 is as fast as fp8, not "
      "faster.\n"
      "- vLLM 0.6.3 with small models: 3 to 5 ms of host work a step.\n"
      "- llama.cpp on A100: 4-bit weights are unpacked in software; a prompt reaches a third of "
      "the peak, a step a third to a half of the bandwidth.\n\n"
      "| rows | n | mean | median | bias |\n|---|--:|--:|--:|--:|\n");
  std::map<std::string, int> groups;
  const auto key = [](const Case& c) {
    const bool experts = c.model.find("-a") != std::string::npos;
    return fmt::format("{}, {}, {}{}, {}", c.engine, c.device, c.format, experts ? " experts" : "",
                       c.what);
  };
  for (const Case& c : table.cases) ++groups[key(c)];
  for (const auto& [name, rows] : groups) {
    if (rows >= 4) print_line(table, name, [&, n = name](const Case& c) { return key(c) == n; });
  }
}

void print_page(Table table) {
  fmt::print(
      "# Accuracy of throughput\n\nWritten by `bench/accuracy/throughput_accuracy` from published "
      "rows (throughput_cases.csv). Nothing was fitted to them. Errors are shares of the "
      "observation, in per cent; bias is predicted over observed, signed. Served engines: "
      "`forecast_serving` with the newest table, whatever version was measured; llama.cpp: the "
      "plan's own times on an uncalibrated card. Small models at one request are host-bound in "
      "vLLM "
      "0.6.3 and SGLang 0.4.6: their 3 to 5 ms of host work a step are hidden in the versions the "
      "tables were fitted to; llama.cpp's prefill of 4-bit weights reaches a third of the peak "
      "that cards assume for matrices; `calibrate` measures both.\n\n| rows | n | mean | median | "
      "bias |\n"
      "|---|--:|--:|--:|--:|\n");
  print_line(table, "all", [](const Case&) { return true; });
  std::map<std::string, int> groups;
  const auto key = [](const Case& c) {
    return fmt::format("{}, {}, {}", c.engine, c.device, c.what);
  };
  for (const Case& c : table.cases) ++groups[key(c)];
  for (const auto& [name, unused] : groups) {
    print_line(table, name, [&, n = name](const Case& c) { return key(c) == n; });
  }
  print_causes(table);
  std::sort(table.cases.begin(), table.cases.end(),
            [](const Case& a, const Case& b) { return std::abs(a.error()) > std::abs(b.error()); });
  fmt::print(
      "\n## Worst rows\n\n| row | engine | model | format | device | ranks | batch | in | out | "
      "what | observed | predicted | error |\n|---|---|---|---|---|--:|---|--:|--:|---|--:|--:|--:|"
      "\n");
  for (std::size_t i = 0; i < std::min<std::size_t>(25, table.cases.size()); ++i) {
    const Case& c = table.cases[i];
    fmt::print(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.4g} | {:.4g} | {:+.0f} % |\n", c.id,
        c.engine, c.model, c.format, c.device, c.ranks, c.batch, c.input, c.output, c.what,
        c.observed, c.predicted, 100 * c.error());
  }
  fmt::print("\n## Rows left out, by reason\n\n| reason | rows |\n|---|--:|\n");
  for (const auto& [why, rows] : table.left_out) fmt::print("| {} | {} |\n", why, rows);
}

}  // namespace
}  // namespace vramplan::accuracy

int main(int count, char** arguments) {
  if (count < 2) {
    std::fputs("usage: throughput_accuracy TRUTH\n", stderr);
    return 2;
  }
  const std::string path = std::string(arguments[1]) + "/throughput_cases.csv";
  if (!std::filesystem::exists(path)) return 77;
  try {
    vramplan::accuracy::Table table;
    for (const auto& row : vramplan::accuracy::read_csv(path).rows) {
      vramplan::accuracy::add(row, table);
    }
    vramplan::accuracy::print_page(table);
    return table.cases.size() > 300 ? 0 : 1;
  } catch (const vramplan::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  }
}
