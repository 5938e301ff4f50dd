#include "reports/engine_report.h"

#include <fmt/format.h>

#include <cstring>
#include <vector>

#include "reports/escape.h"

namespace vramplan {
namespace {

bool is_llamacpp(const EngineForecast& f) { return f.name == "llamacpp"; }

struct Row {
  const char* name;
  Bytes bytes;
};

std::vector<Row> rows_of(const EngineForecast& f) {
  std::vector<Row> rows;
  if (is_llamacpp(f)) {
    rows = {{"model buffer", f.weights - f.draft},
            {"KV buffer", f.kv},
            {"compute buffer", f.compute},
            {"driver", f.non_torch},
            {"sum", f.total}};
  } else {
    rows = {{"weights", f.weights - f.draft}, {"activation peak", f.activations},
            {"non-torch", f.non_torch},       {"KV cache", f.kv},
            {"CUDA graphs", f.graphs},        {"sum", f.total}};
  }
  if (f.draft.n > 0) rows.insert(rows.begin() + 1, {"draft weights", f.draft});
  return rows;
}

/// Ranks that differ from the one before; alike ranks are shown once.
std::vector<const DevicePrediction*> distinct(const Plan& plan) {
  std::vector<const DevicePrediction*> out;
  for (const DevicePrediction& device : plan.predictions.devices) {
    if (!device.engine) continue;
    const bool same = !out.empty() && out.back()->engine->total == device.engine->total &&
                      out.back()->engine->weights == device.engine->weights;
    if (!same) out.push_back(&device);
  }
  return out;
}

std::string capacity_line(const EngineForecast& f) {
  std::string line = fmt::format("{} KV tokens", f.kv_tokens.n);
  if (!is_llamacpp(f)) {
    line += fmt::format(", {:.2f} sequences of the longest length at once", f.max_concurrency);
  }
  if (f.kv_high.n > 0) {
    line += fmt::format("; KV cache 99 % {} to {}", to_text(f.kv_low), to_text(f.kv_high));
  }
  return line;
}

}  // namespace

nlohmann::json engine_object(const EngineForecast& f) {
  nlohmann::json out = {{"name", f.name},
                        {"version", f.version},
                        {"table", f.table},
                        {"kv_bytes", f.kv.n},
                        {"kv_tokens", f.kv_tokens.n},
                        {"total_bytes", f.total.n},
                        {"boots", f.boots},
                        {"transient_bytes", f.transient.n},
                        {"starved", f.starved}};
  if (f.draft.n > 0) out["draft_bytes"] = f.draft.n;
  if (is_llamacpp(f)) {
    out["model_bytes"] = f.weights.n;
    out["compute_bytes"] = f.compute.n;
    out["driver_bytes"] = f.non_torch.n;
    return out;
  }
  out["weight_bytes"] = f.weights.n;
  out["activation_bytes"] = f.activations.n;
  out["non_torch_bytes"] = f.non_torch.n;
  out["graph_bytes"] = f.graphs.n;
  out["available_bytes"] = f.available.n;
  out["max_concurrency"] = f.max_concurrency;
  for (const KvPoolForecast& pool : f.kv_pools) {
    out["kv_pools"].push_back({{"window_tokens", pool.window.n},
                               {"kv_bytes", pool.bytes.n},
                               {"kv_tokens", pool.tokens.n},
                               {"blocks", pool.blocks.n}});
  }
  if (f.kv_high.n > 0) {
    out["interval"] = {{"confidence", 0.99},
                       {"kv_bytes_low", f.kv_low.n},
                       {"kv_bytes_high", f.kv_high.n},
                       {"total_bytes_high", f.total_high.n}};
  }
  return out;
}

nlohmann::json engine_decision_object(const EngineDecision& d) {
  nlohmann::json out = {{"engine", d.engine},
                        {"dtype", d.dtype},
                        {"kv_cache_dtype", d.kv_cache_dtype},
                        {"quantization", d.quantization},
                        {"quantized_parts", d.quantized_parts},
                        {"tower_bytes", d.tower.n},
                        {"beside_bytes", d.beside.n},
                        {"transient_bytes", d.transient.n},
                        {"flash_attention", d.flash_attention}};
  if (d.tower_shape.positions > 0) {
    out["tower_positions"] = d.tower_shape.positions;
    out["tower_heads"] = d.tower_shape.heads;
  }
  if (!d.attention_windows.empty()) out["attention_windows"] = d.attention_windows;
  if (d.expert_parallel > 1) out["expert_parallel"] = d.expert_parallel;
  if (d.attention_dp > 1) out["attention_dp"] = d.attention_dp;
  if (d.context_parallel > 1) out["context_parallel"] = d.context_parallel;
  if (d.speculation.method != "none") {
    nlohmann::json& s = out["speculation"];
    s = {{"method", d.speculation.method}, {"tokens", d.speculation.tokens}};
    if (!d.speculation.model.empty()) s["draft"] = d.speculation.model;
    if (d.speculation.acceptance) s["acceptance"] = *d.speculation.acceptance;
  }
  if (d.eager) out["eager"] = true;
  if (d.memory_fraction) out["memory_fraction"] = *d.memory_fraction;
  if (d.max_model_len) out["max_model_len_tokens"] = d.max_model_len->n;
  if (d.max_num_batched_tokens) out["max_num_batched_tokens"] = d.max_num_batched_tokens->n;
  if (d.kv_tokens) out["kv_tokens"] = d.kv_tokens->n;
  if (d.max_num_seqs) out["max_num_seqs"] = *d.max_num_seqs;
  if (d.kv_cache_memory) out["kv_cache_memory_bytes"] = d.kv_cache_memory->n;
  if (d.serving) {
    out["serving"] = {{"input_tokens", d.serving->input.n},
                      {"output_tokens", d.serving->output.n},
                      {"concurrency", d.serving->concurrency},
                      {"arrival", d.serving->arrival}};
  }
  return out;
}

namespace {

Speculation speculation_from(const JsonReader& in) {
  Speculation s;
  s.method = in.at("method").text();
  s.tokens = in.at("tokens").count();
  if (in.has("draft")) s.model = in.at("draft").text();
  if (in.has("acceptance")) s.acceptance = in.at("acceptance").number();
  return s;
}

}  // namespace

EngineDecision engine_decision_from(const JsonReader& in) {
  EngineDecision d;
  d.engine = in.at("engine").text();
  d.dtype = in.at("dtype").text();
  d.kv_cache_dtype = in.at("kv_cache_dtype").text();
  d.quantization = in.at("quantization").text();
  d.quantized_parts = in.at("quantized_parts").text();
  d.tower = in.at("tower_bytes").bytes();
  d.flash_attention = in.at("flash_attention").boolean();
  if (in.has("beside_bytes")) d.beside = in.at("beside_bytes").bytes();
  if (in.has("transient_bytes")) d.transient = in.at("transient_bytes").bytes();
  if (in.has("tower_positions")) d.tower_shape.positions = in.at("tower_positions").count();
  if (in.has("tower_heads")) d.tower_shape.heads = in.at("tower_heads").count();
  if (in.has("attention_windows")) {
    for (const JsonReader& window : in.at("attention_windows").items()) {
      d.attention_windows.push_back(window.count());
    }
  }
  if (in.has("expert_parallel")) {
    d.expert_parallel = static_cast<int>(in.at("expert_parallel").count());
  }
  if (in.has("attention_dp")) d.attention_dp = static_cast<int>(in.at("attention_dp").count());
  if (in.has("context_parallel")) {
    d.context_parallel = static_cast<int>(in.at("context_parallel").count());
  }
  if (in.has("speculation")) d.speculation = speculation_from(in.at("speculation"));
  if (in.has("eager")) d.eager = in.at("eager").boolean();
  const auto tokens = [&](const char* key, std::optional<Tokens>& value) {
    if (in.has(key)) value = Tokens{in.at(key).count()};
  };
  if (in.has("memory_fraction")) d.memory_fraction = in.at("memory_fraction").number();
  tokens("max_model_len_tokens", d.max_model_len);
  tokens("max_num_batched_tokens", d.max_num_batched_tokens);
  tokens("kv_tokens", d.kv_tokens);
  if (in.has("max_num_seqs")) d.max_num_seqs = in.at("max_num_seqs").count();
  if (in.has("kv_cache_memory_bytes")) d.kv_cache_memory = in.at("kv_cache_memory_bytes").bytes();
  if (in.has("serving")) {
    const JsonReader s = in.at("serving");
    d.serving = ServingDecision{{s.at("input_tokens").count()},
                                {s.at("output_tokens").count()},
                                s.at("concurrency").count(),
                                s.at("arrival").text()};
  }
  return d;
}

nlohmann::json serving_object(const ServingForecast& s) {
  return {{"input_tokens", s.input_tokens},
          {"output_tokens", s.output_tokens},
          {"concurrency", s.concurrency},
          {"running", s.running},
          {"ttft_seconds", s.ttft.v},
          {"tpot_seconds", s.tpot.v},
          {"tokens_per_step", s.tokens_per_step},
          {"tokens_per_second", s.tokens_per_second},
          {"requests_per_second", s.requests_per_second},
          {"ttft_error", s.ttft_error},
          {"tpot_error", s.tpot_error}};
}

std::string engine_text(const Plan& plan, const TextOptions& o) {
  std::string out;
  for (const DevicePrediction* device : distinct(plan)) {
    const EngineForecast& f = *device->engine;
    TextTable table({{"engine"}, {"bytes", true}, {"size", true}, {"", false, 1}}, o);
    for (const Row& row : rows_of(f)) {
      const double part =
          static_cast<double>(row.bytes.n) / static_cast<double>(device->capacity.n);
      table.add(
          {row.name, grouped(row.bytes.n), to_text(row.bytes), bar(std::min(1.0, part), 20, o)},
          std::strcmp(row.name, "sum") == 0 ? Ink::kBold : Ink::kPlain);
    }
    std::string title = fmt::format("{}@{} on rank {}{}", f.name, f.version, device->rank,
                                    f.boots ? "" : ": does not start");
    if (f.starved) title += ": serves, but slowly";
    out += "\n" + ink(terminal_text(title, o.ascii), f.boots ? Ink::kBold : Ink::kBad, o) + "\n" +
           table.render() + "  " + capacity_line(f) + "\n";
    if (f.starved) {
      out += fmt::format(
          "  {} are taken and given back while it serves and do not fit beside the rest: the "
          "allocator frees and takes again at every prefill\n",
          to_text(f.transient));
    }
  }
  if (plan.predictions.serving) {
    const ServingForecast& s = *plan.predictions.serving;
    out += fmt::format(
        "  serving {} requests of {} + {} tokens: TTFT {} (+-{:.0f} %), TPOT {} (+-{:.0f} %), "
        "{:.0f} tokens/s{}\n",
        s.concurrency, s.input_tokens, s.output_tokens, to_text(s.ttft), 100 * s.ttft_error,
        to_text(s.tpot), 100 * s.tpot_error, s.tokens_per_second,
        s.tokens_per_step > 1 ? fmt::format(", {:.2f} tokens a step", s.tokens_per_step) : "");
  }
  return out;
}

std::string engine_markdown(const Plan& plan) {
  std::string out;
  for (const DevicePrediction* device : distinct(plan)) {
    const EngineForecast& f = *device->engine;
    out += fmt::format("\n### {}@{} on rank {}\n\n| part | bytes | size |\n|---|---:|---:|\n",
                       f.name, f.version, device->rank);
    for (const Row& row : rows_of(f)) {
      out += fmt::format("| {} | {} | {} |\n", row.name, grouped(row.bytes.n), to_text(row.bytes));
    }
    out += "\n" + capacity_line(f) + "\n";
  }
  return out;
}

}  // namespace vramplan
