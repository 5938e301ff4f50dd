#include "bench/accuracy/serving_cases.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "bench/accuracy/csv.h"
#include "modelcards/library.h"

namespace vramplan::accuracy {
namespace {

const std::map<std::string, std::string> kCards = {
    {"Llama-3.1-8B", "llama-3.1-8b"}, {"Llama-3.1-70B", "llama-3.1-70b"},
    {"Qwen3-32B", "qwen3-32b"},       {"Qwen3-235B", "qwen3-235b-a22b"},
    {"DeepSeek-V3", "deepseek-v3"},   {"DeepSeek-R1", "deepseek-r1"},
    {"gpt-oss-120b", "gpt-oss-120b"}, {"MiniMax-M2.5", "minimax-m2"},
    {"Kimi-K2.5", "kimi-k2"}};
const std::map<std::string, std::string> kDevices = {
    {"h100_sxm", "h100-sxm-80gb"}, {"h200_sxm", "h200-sxm-141gb"}, {"b200_sxm", "b200-sxm-180gb"}};

bool has(const Row& row, const char* key, const char* word) {
  return row.at(key).find(word) != std::string::npos;
}

/// The checkpoints of DeepSeek, Qwen3-235B-FP8 and MiniMax are scaled in blocks, whatever word the
/// row has for 8 bits; gpt-oss is published in mxfp4.
std::string quantization_of(const Row& row) {
  if (has(row, "model_path", "gpt-oss")) return "mxfp4";
  const std::string& mode = row.at("gemm_quant_mode");
  if (mode == "int4_wo") return "int4";
  if (mode == "nvfp4" || mode == "fp8_block") return mode;
  const bool blocks = has(row, "model_path", "DeepSeek") || has(row, "model_path", "MiniMax") ||
                      has(row, "model_path", "Qwen3-235B-A22B-FP8");
  if (mode == "fp8") return blocks ? "fp8_block" : "fp8";
  return mode.empty() && row.at("precision") == "fp8" ? "fp8" : "none";
}

/// What the checkpoints quantise, by their own quantisation files: NVIDIA's of DeepSeek and Kimi
/// leave attention in 16 bits, Moonshot's int4 takes the experts alone.
const char* quantized_parts_of(const Row& row) {
  const bool latent = has(row, "model_path", "DeepSeek") || has(row, "model_path", "Kimi");
  if (row.at("gemm_quant_mode") == "int4_wo") return "experts";
  return latent && row.at("gemm_quant_mode") == "nvfp4" ? "feed_forward" : "all";
}

/// Tensor ranks of a row: with experts shared by n ranks, tp is n, or n x n where the source
/// multiplied the two (more ranks than the one machine of these runs has).
std::optional<int> ranks_of(const Row& row) {
  const auto whole = [&](const char* key) {
    return row.at(key).empty() ? 1 : static_cast<int>(number(row, key));
  };
  const int tp = whole("tp_size"), moe_tp = whole("moe_tp_size"), ep = whole("moe_ep_size");
  if (ep == 1) return tp;
  if (moe_tp == 1 && ep == tp) return tp;
  if (moe_tp == ep && tp == ep * ep && tp > 8) return ep;
  return std::nullopt;
}

/// Attention groups of a row, each of one rank: TensorRT-LLM's are as many as the ranks that share
/// experts, or that number squared where the source multiplied. Of vLLM's rows the same times are
/// published with and without groups.
std::optional<int> groups_of(const Row& row) {
  if (row.at("attention_dp_size").empty()) return 1;
  const int groups = static_cast<int>(number(row, "attention_dp_size"));
  if (groups <= 1) return 1;
  const int ep = static_cast<int>(number(row, "moe_ep_size"));
  const bool clear = row.at("backend") == "trtllm" && (groups == ep || groups == ep * ep);
  if (!clear) return std::nullopt;
  return ep;
}

/// Empty when the row is modelled, else why not.
std::string left_out(const Row& row, const std::string& card) {
  if (kDevices.count(row.at("system")) == 0) return "another device: " + row.at("system");
  if (card.empty()) return "no card: " + row.at("model_path");
  const auto above_one = [&](const char* key) { return number(row, key) > 1; };
  if (!groups_of(row)) return "attention-data parallel, ranks unclear";
  if (above_one("pp_size")) return "pipeline parallel";
  if (*groups_of(row) > 1) return row.at("concurrency").empty() ? "no concurrency stated" : "";
  if (above_one("moe_ep_size") && !ranks_of(row)) return "expert parallel, ranks unclear";
  if (number(row, "moe_tp_size") > number(row, "tp_size")) return "data parallel";
  return row.at("concurrency").empty() ? "no concurrency stated" : "";
}

/// DeepSeek V3 and R1 are one question: the same shapes, and rows of one run carry either name.
std::string question_of(const Row& row) {
  std::string text = row.at("model_path").substr(row.at("model_path").find('/') + 1);
  if (text.rfind("DeepSeek-", 0) == 0) text = "DeepSeek";
  for (const char* key :
       {"backend", "system", "gemm_quant_mode", "isl", "osl", "concurrency", "tp_size", "pp_size",
        "attention_dp_size", "moe_tp_size", "moe_ep_size"}) {
    text += "|" + row.at(key);
  }
  return text;
}

/// Settings the published run was started with, from the benchmark's own scripts: facts of the
/// question, not of the answer.
void apply_settings(const std::vector<Row>& settings, ServingCase& c, EngineRequest& request) {
  const auto fits = [](const std::string& pattern, const std::string& value) {
    return pattern == "*" || pattern == value ||
           (pattern == "deepseek" && value.rfind(pattern, 0) == 0);
  };
  const auto within = [&](const std::string& requests) {  // "*", "<16" or ">=16"
    if (requests == "*") return true;
    const bool below = requests.front() == '<';
    return below == (c.concurrency < std::stoll(requests.substr(below ? 1 : 2)));
  };
  const std::string shape = std::to_string(c.input) + "/" + std::to_string(c.output);
  // The three shapes of that benchmark; rows of other sources share models with it.
  const bool listed = shape == "1024/1024" || shape == "1024/8192" || shape == "8192/1024";
  double lengths = 1;
  c.arrival = c.input % 1000 == 0 ? "steady" : "equal";
  const bool quantised = c.quantization.rfind("fp8", 0) == 0 || c.quantization == "nvfp4";
  if (c.engine == "trtllm" && quantised) request.kv_cache_dtype = "fp8";
  for (const Row& row : settings) {
    if (row.at("shape") == "other" ? listed : !listed) continue;
    if (row.at("engine") != c.engine || !fits(row.at("model"), c.model) ||
        !fits(row.at("system"), c.system) || !fits(row.at("format"), c.quantization) ||
        !fits(row.at("tp"), std::to_string(c.tp)) ||
        !(row.at("shape") == "other" || fits(row.at("shape"), shape)) ||
        !fits(row.at("version"), c.version) || !within(row.at("requests"))) {
      continue;
    }
    if (listed) c.arrival = "spread";
    request.kv_cache_dtype = row.at("kv");
    const bool nominal = row.at("batched") == "shape";
    request.max_num_batched_tokens =
        Tokens{nominal ? c.input + c.output + 200 : std::stoll(row.at("batched"))};
    request.memory_fraction.reset();
    if (!row.at("fraction").empty()) request.memory_fraction = std::stod(row.at("fraction"));
    lengths = std::stod(row.at("lengths"));
    c.load.batch_wait_steps = std::stoll(row.at("wait"));
    if (row.at("sequences") == "c-1") {
      request.max_num_seqs = std::max<std::int64_t>(1, c.concurrency - 1);
      c.arrival = "steady";  // one comes in when one leaves
    }
    c.drafts = row.at("drafts");
    break;
  }
  const auto mean = [&](std::int64_t n) {
    return Tokens{static_cast<std::int64_t>(std::lround(lengths * static_cast<double>(n)))};
  };
  c.load.input = mean(c.input);
  c.load.output = mean(c.output);
  c.load.concurrency = c.concurrency;
  c.load.release = c.version.empty() ? "unstated" : c.version;
  c.load.arrival = parse_arrival(c.arrival);
  // Runs of other sources than the listed ones: clients and front end on the engine's machine.
  c.load.front_end = c.arrival != "spread";
}

ServingCase predict(const Row& row, const std::string& card, const std::vector<Row>& settings) {
  ServingCase c;
  c.id = row.at("id");
  c.engine = row.at("backend");
  c.version = row.at("backend_version");
  c.model = card;
  c.system = row.at("system");
  c.quantization = quantization_of(row);
  c.question = question_of(row);
  c.fit = in_fit_half(c.question);
  c.groups = *groups_of(row);
  c.ep = row.at("moe_ep_size").empty() ? 1 : static_cast<int>(number(row, "moe_ep_size"));
  c.tp = c.groups > 1 ? c.ep : *ranks_of(row);
  c.concurrency = static_cast<std::int64_t>(number(row, "concurrency"));
  c.input = static_cast<std::int64_t>(number(row, "isl"));
  c.output = static_cast<std::int64_t>(number(row, "osl"));
  c.ttft = number(row, "silicon_ttft_ms") / 1e3;
  c.tpot = number(row, "silicon_tpot_ms") / 1e3;
  EngineRequest request;
  request.id = parse_engine(c.engine);
  request.quantization = c.quantization;
  request.quantized_parts = quantized_parts_of(row);
  request.expert_parallel = c.ep;
  request.max_num_seqs = std::max<std::int64_t>(c.concurrency, 256);
  apply_settings(settings, c, request);
  request.attention_dp = c.groups;
  if (c.groups > 1) {
    // The same scripts: attention_dp_config holds a prompt until every group has one, for 60 steps
    // at most. Of eight groups one seldom has a prompt within 60 steps of another's; rows of the
    // fit half with drafts, and of two groups, wait for half of that. MTP drafts one token there.
    const bool waits_out = c.drafts.empty() && c.groups > 2;
    c.load.batch_wait_steps = waits_out ? 60 : 30;
    if (!c.drafts.empty()) c.drafts = "mtp:1";
  }
  if (!c.drafts.empty()) {
    const std::size_t mark = c.drafts.find(':');
    request.speculation.method = c.drafts.substr(0, mark);
    request.speculation.tokens = std::stoll(c.drafts.substr(mark + 1));
  }
  const ModelSource source = open_model(card);
  c.device = kDevices.at(c.system);
  const DeviceCard device = device_card(c.device);
  Decisions d;
  d.sharding.tp = d.device_count = c.tp;
  d.context = {c.input + c.output};
  d.capacity = {device.capacity_bytes.value};
  const EngineOutcome outcome = forecast_engine(source, device, d, request);
  const EngineForecast& rank = outcome.devices.front();
  c.kv_tokens = static_cast<double>(rank.kv_tokens.n);
  c.terms = serving_terms(source, device, d, request, c.load);
  const ServingForecast s = forecast_serving(source, device, d, request, rank, c.load);
  c.ttft_predicted = s.ttft.v;
  c.tpot_predicted = s.tpot.v;
  c.ttft_published = s.ttft_error;
  c.tpot_published = s.tpot_error;
  return c;
}

}  // namespace

bool in_fit_half(const std::string& question) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : question) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return (hash >> 32) % 2 == 0;
}

namespace {

/// Family of the model, and everything else that two runs share which differ in requests alone.
std::string series_of(const ServingCase& c) {
  const std::string family = c.model.rfind("deepseek", 0) == 0 ? "deepseek" : c.model;
  return c.engine + family + c.system + c.quantization + c.drafts + std::to_string(c.tp) + "/" +
         std::to_string(c.input) + "/" + std::to_string(c.output);
}

}  // namespace

void find_contradictions(std::vector<ServingCase>& cases, const std::vector<ServingCase>& others) {
  std::map<std::string, std::vector<ServingCase*>> series;
  std::map<std::string, std::map<std::int64_t, double>> least;  // TTFT by requests
  for (ServingCase& c : cases) series[series_of(c)].push_back(&c);
  for (const std::vector<ServingCase>* list :
       std::initializer_list<const std::vector<ServingCase>*>{&cases, &others}) {
    for (const ServingCase& c : *list) {
      const auto [at, added] = least[series_of(c)].try_emplace(c.concurrency, c.ttft);
      at->second = std::min(at->second, c.ttft);
    }
  }
  for (auto& [name, rows] : series) {
    for (ServingCase* c : rows) {
      double fewer_tpot = 0, fastest = c->tpot, slowest = c->tpot;
      for (const ServingCase* o : rows) {
        if (o->concurrency < c->concurrency) fewer_tpot = std::max(fewer_tpot, o->tpot);
        if (o->concurrency != c->concurrency) continue;
        fastest = std::min(fastest, o->tpot);
        slowest = std::max(slowest, o->tpot);
      }
      const auto& ttfts = least.at(name);
      double more_ttft = c->ttft;
      for (auto at = ttfts.upper_bound(c->concurrency); at != ttfts.end(); ++at) {
        more_ttft = std::min(more_ttft, at->second);
      }
      const double cycle = c->ttft + static_cast<double>(c->load.output.n) * c->tpot;
      const double work = static_cast<double>(c->concurrency) * c->terms.prompt_floor_s;
      if (slowest > 1.3 * fastest) {
        c->contradicts = "two answers";
      } else if (c->tpot < 0.8 * fewer_tpot) {
        c->contradicts = "tpot falls";
      } else if (c->ttft > 3 * ttfts.at(c->concurrency)) {
        c->contradicts = "another answer";
      } else if (c->ttft > 3 * more_ttft) {
        c->contradicts = "ttft falls";
      } else if (work > cycle) {
        c->contradicts = "above the peak";
      }
    }
  }
}

ServingCases read_serving_cases(const std::string& truth, const std::string& folder) {
  const std::vector<Row> settings = read_csv(folder + "/served_settings.csv").rows;
  ServingCases out;
  for (const Row& row : read_csv(truth + "/serving_cases.csv").rows) {
    std::string card;
    for (const auto& [word, name] : kCards) {
      if (row.at("model_path").find(word) != std::string::npos) card = name;
    }
    const std::string why = left_out(row, card);
    if (!why.empty()) {
      ++out.left_out[why];
      continue;
    }
    try {
      ServingCase c = predict(row, card, settings);
      auto& list = c.groups > 1 ? out.attention_dp : c.ep > 1 ? out.expert_parallel : out.cases;
      list.push_back(std::move(c));
    } catch (const Error& error) {
      ++out.left_out[error.message()];
    }
  }
  find_contradictions(out.cases, out.expert_parallel);
  find_contradictions(out.expert_parallel, {});
  find_contradictions(out.attention_dp, {});
  return out;
}

}  // namespace vramplan::accuracy
