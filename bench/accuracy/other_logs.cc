#include "bench/accuracy/other_logs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "bench/accuracy/csv.h"
#include "modelcards/library.h"
#include "planner/plan.h"

namespace vramplan::accuracy {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0, kMiB = 1024.0 * 1024.0;
using Row = std::map<std::string, std::string>;

/// Words of the logs' model names, in the order they are tried. LLaMA 30B and 65B of the first
/// generation, the Rumination and the pruned models have no card.
const std::vector<std::pair<std::string, std::string>> kLogged = {
    {"Qwen3-235B", "qwen3-235b-a22b"}, {"Qwen3 235B", "qwen3-235b-a22b"},
    {"Models", "qwen3-235b-a22b"},  // the log names a folder; 235.094 B parameters in 94 layers
    {"Qwen3-30B", "qwen3-30b-a3b"},    {"Qwen3-32B", "qwen3-32b"},
    {"Gemma 3 27b", "gemma-3-27b"},    {"V3", "deepseek-v3"},
    {"DeepSeek R1", "deepseek-r1"},    {"Kimi K2", "kimi-k2"},
    {"Llama-3-8B", "llama-3-8b"},      {"Llama_3.1_8b", "llama-3.1-8b"},
    {"LLaMA v2", "llama-2-13b"},  // 13.016 B parameters
    {"LLaMA-2 7B", "llama-2-7b"},      {"LLaMA-2 13B", "llama-2-13b"},
    {"LLaMA-2 70B", "llama-2-70b"},    {"pythia-2.8b", "pythia-2.8b"}};

struct Term {
  double observed = 0, predicted = 0;
  double error() const { return 100 * (predicted / observed - 1); }
};

struct Case {
  std::string id, engine, model, format;
  std::optional<Term> parameters, cache, device;
  std::string note;
};

struct Cases {
  std::vector<Case> cases;
  std::vector<std::pair<std::string, std::string>> left;  // row and why
};

bool has(const std::string& text, const std::string& word) {
  return text.find(word) != std::string::npos;
}

Plan plan_of(const ModelSource& source, PlanRequest request, Tokens context) {
  request.context = context;
  request.output = request.output.value_or(Tokens{1});
  return make_plan(source, device_card("b300-sxm-288gb"), request);
}

/// Parameters of the expansion of a latent cache, which some files hold twice: as one matrix and
/// split into keys and values.
double expansion(const ModelCard& card) {
  double sum = 0;
  for (const Layer& layer : card.layers) {
    const Mixer& m = layer.mixer;
    if (m.kv_lora_rank == 0) continue;
    sum += static_cast<double>(m.heads * (m.head_dim - m.qk_rope_dim + m.value_dim)) *
           static_cast<double>(m.kv_lora_rank);
  }
  return sum;
}

/// "params 672.050 B; size ..." in billions or trillions; 0 when the log does not say.
double logged_parameters(const std::string& notes) {
  if (notes.rfind("params ", 0) != 0) return 0;
  const double value = std::stod(notes.substr(7));
  return value * (has(notes.substr(0, 20), " T;") ? 1e12 : 1e9);
}

Case predict_log(const Row& row, const std::string& card) {
  Case c;
  ModelSource source = open_model(card);
  // The logs' totals have no layers that predict further tokens, and no tower.
  PlanRequest request;
  const std::string& dtype = row.at("kv_dtype");
  request.kv_format = dtype == "q8_0" ? KvFormat::kQ8_0 : KvFormat::kF16;
  if (card == "gemma-3-27b") request.kv_policy = KvPolicy::kKeepAll;  // so the log says
  const Plan plan = plan_of(source, request, {std::stoll(row.at("max_model_len_or_ctx"))});
  const Totals& totals = plan.predictions.totals;
  const double logged = logged_parameters(row.at("notes"));
  if (logged > 0) {
    double ours = static_cast<double>(totals.parameters.n);
    const double twice = ours + expansion(source.card);
    if (std::abs(twice / logged - 1) < std::abs(ours / logged - 1)) {
      ours = twice;
      c.note = "the file holds the latent's expansion twice";
    }
    c.parameters = Term{logged, ours};
  }
  c.cache = Term{number(row, "kv_cache_mib"), static_cast<double>(totals.kv_bytes.n) / kMiB};
  return c;
}

std::string why_not_logged(const Row& row) {
  const std::string& detail = row.at("kv_cache_detail");
  const bool latent = has(row.at("model"), "V3") || has(row.at("model"), "eepSeek R1") ||
                      has(row.at("model"), "Kimi");
  if (latent && detail.rfind("K (", 0) == 0)
    return "caches the expanded latent, which no plan does";
  if (has(detail, "kv^T (")) return "caches the latent and its transpose, which no plan does";
  const std::string& dtype = row.at("kv_dtype");
  if (dtype != "f16" && dtype != "q8_0") return "cache in " + dtype;
  const bool mixed = detail.rfind("K (", 0) == 0 && detail.find("V (" + dtype) == std::string::npos;
  if (mixed) return "K and V in two formats";
  return number(row, "kv_cache_mib") > 0 ? "" : "no cache in the log";
}

/// transformers: weights as the checkpoint stores them, the cache of all tokens, the prompt's
/// activations in one pass.
Case predict_page(const Row& row, const std::string& card) {
  static const std::map<std::string, DType> kFormats = {{"GPTQ-Int8", DType::kGptqI8},
                                                        {"GPTQ-Int4", DType::kGptqI4},
                                                        {"AWQ", DType::kAwqI4},
                                                        {"AWQ-INT4", DType::kAwqI4},
                                                        {"FP8", DType::kFp8Block}};
  Case c;
  PlanRequest request;
  const auto format = kFormats.find(row.at("quant"));
  if (format != kFormats.end()) request.weights = format->second;
  request.output = Tokens{2048};
  const std::int64_t context = std::stoll(row.at("max_model_len_or_ctx"));
  request.prefill_chunk = Tokens{std::max<std::int64_t>(1, context - 2048)};
  const Plan plan = plan_of(open_model(card), request, {context});
  Bytes activations{0};
  for (const LedgerRow& r : plan.predictions.ledger.rows()) {
    if (r.category == Category::kActivations) activations = std::max(activations, r.bytes);
  }
  const Totals& totals = plan.predictions.totals;
  c.device =
      Term{number(row, "total_reported_gb"),
           static_cast<double>((totals.weight_bytes + totals.kv_bytes + activations).n) / kGiB};
  return c;
}

/// "Qwen/Qwen2.5-0.5B-Instruct" -> "qwen2.5-0.5b", when there is such a card.
std::string card_of_page(const std::string& model) {
  std::string name = model.substr(model.find('/') + 1);
  name = name.substr(0, name.find("-Instruct"));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto names = model_card_names();
  return std::find(names.begin(), names.end(), name) == names.end() ? "" : name;
}

std::string card_of_log(const std::string& model) {
  for (const auto& [word, card] : kLogged) {
    if (has(model, word)) return card;
  }
  return "";
}

Cases read_cases(const std::string& truth) {
  Cases out;
  for (const Row& row : read_csv(truth + "/memory_cases.csv").rows) {
    const std::string& engine = row.at("engine");
    if (engine.rfind("vLLM", 0) == 0) continue;
    const bool page = engine == "HF transformers";
    const std::string& model = row.at("model");
    const std::string card = page ? card_of_page(model) : card_of_log(model);
    std::string why = engine == "SGLang" ? "incomplete, or a model without a name"
                      : card.empty()     ? "no card: " + model
                      : page             ? ""
                                         : why_not_logged(row);
    if (why.empty()) {
      try {
        Case c = page ? predict_page(row, card) : predict_log(row, card);
        c.id = row.at("id");
        c.engine = engine;
        c.model = model;
        c.format = row.at("quant");
        out.cases.push_back(std::move(c));
        continue;
      } catch (const Error& error) {
        why = error.message();
      }
    }
    out.left.emplace_back(row.at("id"), why);
  }
  return out;
}

struct Summary {
  int rows = 0, under = 0;
  double mean = 0, worst = 0;
  std::string worst_id;
};

using Pick = std::function<std::optional<Term>(const Case&)>;

Summary summary_of(const std::vector<Case>& cases, const Pick& pick) {
  Summary s;
  for (const Case& c : cases) {
    const auto term = pick(c);
    if (!term) continue;
    const double error = term->error();
    ++s.rows;
    s.mean += std::abs(error);
    if (error < 0) ++s.under;
    if (std::abs(error) < std::abs(s.worst)) continue;
    s.worst = error;
    s.worst_id = c.id;
  }
  if (s.rows > 0) s.mean /= s.rows;
  return s;
}

const Pick kParameters = [](const Case& c) { return c.parameters; };
const Pick kCache = [](const Case& c) { return c.cache; };
const Pick kDevice = [](const Case& c) { return c.device; };

std::string summary_line(const char* name, const Summary& s) {
  return fmt::format("| {} | {} | {:.4f} | {:+.3f} ({}) | {} |\n", name, s.rows, s.mean, s.worst,
                     s.worst_id, s.under);
}

std::string cell(const std::optional<Term>& term) {
  return term ? fmt::format("{:.6g} | {:+.3f}", term->observed, term->error()) : "- | -";
}

}  // namespace

std::string other_logs_page(const std::string& truth) {
  const Cases all = read_cases(truth);
  std::string text =
      "# Accuracy: logs of llama.cpp, device bytes of transformers\n\nWritten by "
      "`bench/accuracy/memory_accuracy --others` from memory_cases.csv. Nothing was fitted to "
      "these "
      "rows. Errors are predicted over observed, in per cent. Parameters: three decimals of a "
      "billion are logged. Device: weights, cache of all tokens, activations of a prompt in one "
      "pass, against GiB that the pages call GB; the caching allocator's own rounding is no term "
      "of "
      "ours.\n\n| term | rows | mean error | worst (row) | under-predicted |\n"
      "|---|--:|--:|--:|--:|\n";
  text += summary_line("parameters", summary_of(all.cases, kParameters));
  text += summary_line("KV cache, MiB", summary_of(all.cases, kCache));
  text += summary_line("whole device, GiB", summary_of(all.cases, kDevice));
  text +=
      "\n## Every row\n\n| row | engine | model | format | parameters | error | cache MiB | error "
      "| "
      "device GiB | error | note |\n|---|---|---|---|--:|--:|--:|--:|--:|--:|---|\n";
  for (const Case& c : all.cases) {
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", c.id, c.engine, c.model,
                        c.format, cell(c.parameters), cell(c.cache), cell(c.device), c.note);
  }
  text += "\n## Rows left out, by name\n\n| row | why |\n|---|---|\n";
  for (const auto& [id, why] : all.left) text += fmt::format("| {} | {} |\n", id, why);
  return text;
}

std::string other_logs_missed(const std::string& truth) {
  const std::vector<Case> cases = read_cases(truth).cases;
  const Summary parameters = summary_of(cases, kParameters), cache = summary_of(cases, kCache);
  if (cases.size() < 100) return fmt::format("only {} rows could be asked", cases.size());
  if (std::abs(parameters.worst) > 0.1) return "parameters of " + parameters.worst_id;
  if (std::abs(cache.worst) > 0.1) return "KV cache of " + cache.worst_id;
  return "";
}

}  // namespace vramplan::accuracy
