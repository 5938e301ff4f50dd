#include "planner/engine_decision.h"

#include <fmt/format.h>

#include <limits>

#include "modelcards/yaml.h"

namespace vramplan {
namespace {

constexpr std::int64_t kMostPositions = 1 << 24;
constexpr std::int64_t kMostRanks = 65536;
constexpr std::size_t kMostWindows = 4096;
constexpr std::int64_t kMostWindow = std::int64_t{1} << 40;
constexpr std::int64_t kMostDrafted = 1024;
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

template <class Unit>
void read_count(const YamlNode& node, const char* key, std::optional<Unit>& value) {
  if (node.has(key)) value = Unit{node.at(key).integer(1, kMost)};
}

std::string speculation_text(const Speculation& s) {
  std::string out = fmt::format("{{method: {}, tokens: {}", yaml_quoted(s.method), s.tokens);
  if (!s.model.empty()) out += fmt::format(", draft: {}", yaml_quoted(s.model));
  if (s.acceptance) out += fmt::format(", acceptance: {}", *s.acceptance);
  return out + "}";
}

Speculation read_speculation(const YamlNode& in) {
  in.allow_only({"method", "tokens", "draft", "acceptance"});
  Speculation s;
  s.method = in.at("method").text();
  s.tokens = in.at("tokens").integer(1, kMostDrafted);
  s.model = in.text_or("draft", "");
  if (in.has("acceptance")) s.acceptance = in.at("acceptance").real(0, 1);
  return s;
}

std::vector<std::int64_t> read_windows(const YamlNode& in) {
  if (!in.is_list() || in.size() == 0 || in.size() > kMostWindows) {
    in.fail(fmt::format("a list of 1 to {} windows is wanted", kMostWindows));
  }
  std::vector<std::int64_t> windows;
  for (std::size_t i = 0; i < in.size(); ++i) windows.push_back(in.at(i).integer(1, kMostWindow));
  return windows;
}

}  // namespace

std::string write_engine_decision(const EngineDecision& d, const std::string& indent) {
  std::string out;
  const auto line = [&](const char* key, const std::string& value) {
    out += fmt::format("{}{}: {}\n", indent, key, value);
  };
  const auto count = [&](const char* key, const auto& value) {
    if (value) line(key, fmt::format("{}", value->n));
  };
  line("engine", yaml_quoted(d.engine));
  if (d.memory_fraction) line("memory_fraction", fmt::format("{}", *d.memory_fraction));
  count("max_model_len_tokens", d.max_model_len);
  count("max_num_batched_tokens", d.max_num_batched_tokens);
  count("kv_tokens", d.kv_tokens);
  if (d.max_num_seqs) line("max_num_seqs", fmt::format("{}", *d.max_num_seqs));
  count("kv_cache_memory_bytes", d.kv_cache_memory);
  line("dtype", yaml_quoted(d.dtype));
  line("kv_cache_dtype", yaml_quoted(d.kv_cache_dtype));
  line("quantization", yaml_quoted(d.quantization));
  line("quantized_parts", yaml_quoted(d.quantized_parts));
  line("tower_bytes", fmt::format("{}", d.tower.n));
  if (d.beside.n > 0) line("beside_bytes", fmt::format("{}", d.beside.n));
  if (d.transient.n > 0) line("transient_bytes", fmt::format("{}", d.transient.n));
  if (d.tower_shape.positions > 0) {
    line("tower_positions", fmt::format("{}", d.tower_shape.positions));
    line("tower_heads", fmt::format("{}", d.tower_shape.heads));
  }
  if (!d.attention_windows.empty()) {
    line("attention_windows", fmt::format("[{}]", fmt::join(d.attention_windows, ", ")));
  }
  if (d.expert_parallel > 1) line("expert_parallel", fmt::format("{}", d.expert_parallel));
  if (d.attention_dp > 1) line("attention_dp", fmt::format("{}", d.attention_dp));
  if (d.context_parallel > 1) line("context_parallel", fmt::format("{}", d.context_parallel));
  if (d.speculation.method != "none") line("speculation", speculation_text(d.speculation));
  if (d.eager) line("eager", "true");
  line("flash_attention", d.flash_attention ? "true" : "false");
  if (d.serving) {
    line("serving", fmt::format("{{input_tokens: {}, output_tokens: {}, concurrency: {}, "
                                "arrival: {}}}",
                                d.serving->input.n, d.serving->output.n, d.serving->concurrency,
                                yaml_quoted(d.serving->arrival)));
  }
  return out;
}

EngineDecision read_engine_decision(const YamlNode& in) {
  in.allow_only({"engine",
                 "memory_fraction",
                 "max_model_len_tokens",
                 "max_num_batched_tokens",
                 "kv_tokens",
                 "max_num_seqs",
                 "kv_cache_memory_bytes",
                 "dtype",
                 "kv_cache_dtype",
                 "quantization",
                 "quantized_parts",
                 "tower_bytes",
                 "beside_bytes",
                 "transient_bytes",
                 "tower_positions",
                 "tower_heads",
                 "attention_windows",
                 "expert_parallel",
                 "attention_dp",
                 "context_parallel",
                 "speculation",
                 "eager",
                 "flash_attention",
                 "serving"});
  EngineDecision d;
  d.engine = in.at("engine").text();
  if (in.has("memory_fraction")) d.memory_fraction = in.at("memory_fraction").real(0, 1);
  read_count(in, "max_model_len_tokens", d.max_model_len);
  read_count(in, "max_num_batched_tokens", d.max_num_batched_tokens);
  read_count(in, "kv_tokens", d.kv_tokens);
  if (in.has("max_num_seqs")) d.max_num_seqs = in.at("max_num_seqs").integer(1, kMost);
  read_count(in, "kv_cache_memory_bytes", d.kv_cache_memory);
  d.dtype = in.at("dtype").text();
  d.kv_cache_dtype = in.at("kv_cache_dtype").text();
  d.quantization = in.at("quantization").text();
  d.quantized_parts = in.at("quantized_parts").text();
  d.tower = {in.at("tower_bytes").integer(0, kMost)};
  d.beside = {in.integer_or("beside_bytes", 0, 0, kMost)};
  d.transient = {in.integer_or("transient_bytes", 0, 0, kMost)};
  d.tower_shape.positions = in.integer_or("tower_positions", 0, 1, kMostPositions);
  d.tower_shape.heads = in.integer_or("tower_heads", 0, 1, kMostPositions);
  if (in.has("attention_windows")) d.attention_windows = read_windows(in.at("attention_windows"));
  d.expert_parallel = static_cast<int>(in.integer_or("expert_parallel", 1, 1, kMostRanks));
  d.attention_dp = static_cast<int>(in.integer_or("attention_dp", 1, 1, kMostRanks));
  d.context_parallel = static_cast<int>(in.integer_or("context_parallel", 1, 1, kMostRanks));
  if (in.has("speculation")) d.speculation = read_speculation(in.at("speculation"));
  if (in.has("eager")) d.eager = in.at("eager").boolean();
  d.flash_attention = in.at("flash_attention").boolean();
  if (in.has("serving")) {
    const YamlNode s = in.at("serving");
    s.allow_only({"input_tokens", "output_tokens", "concurrency", "arrival"});
    d.serving = ServingDecision{{s.at("input_tokens").integer(1, kMost)},
                                {s.at("output_tokens").integer(1, kMost)},
                                s.at("concurrency").integer(1, kMost),
                                s.at("arrival").text()};
  }
  return d;
}

}  // namespace vramplan
