#include "cli/mix_report_json.h"

#include <fmt/format.h>

#include <cmath>

#include "planner/kv_mix.h"
#include "planner/text.h"
#include "planner/weight_mix.h"
#include "reports/json_reader.h"

namespace vramplan::cli {
namespace {

using nlohmann::json;

/// Layers of a mix that no other flag names, and what the others have.
std::string layers_text(const MeasuredMix& mix, const std::string& base) {
  return mix.layers.empty() ? base : text_of(mix.layers);
}

json mix_object(const MeasuredMix& mix, const std::string& base) {
  return {{"layers", layers_text(mix, base)},
          {"kv_bytes", mix.size.cache.n},
          {"kv_bytes_per_token", mix.size.per_token.n},
          {"weight_bytes", mix.size.weights.n},
          {"predicted_divergence", finite(mix.predicted)},
          {"mean_divergence", finite(mix.quality.mean_divergence)},
          {"worst_divergence", finite(mix.quality.worst_divergence)},
          {"perplexity", finite(mix.quality.perplexity)},
          {"same_best", finite(mix.quality.same_best)},
          {"keeps_floor", mix.keeps}};
}

json list_of(const std::vector<MeasuredMix>& mixes, const std::string& base) {
  json list = json::array();
  for (const MeasuredMix& mix : mixes) list.push_back(mix_object(mix, base));
  return list;
}

json groups_array(const MixAnswer& answer) {
  json list = json::array();
  for (const MixGroup& group : answer.groups) {
    json options = json::array();
    for (const MixOption& option : group.options) {
      options.push_back({{"format", option.format},
                         {"saved_bytes", -option.bytes.n},
                         {"divergence", finite(option.loss)}});
    }
    list.push_back({{"first_layer", group.begin},
                    {"last_layer", group.end - 1},
                    {"formats", std::move(options)}});
  }
  return list;
}

void add_row(TextTable& table, const MixReport& report, const std::string& name,
             const MeasuredMix& mix, bool predicted) {
  const double bits = 8 * static_cast<double>(mix.size.weights.n);
  table.add({name,
             report.weights ? fmt::format("{:.3f}", bits / static_cast<double>(report.parameters.n))
                            : grouped(mix.size.per_token.n),
             grouped(mix.size.bytes.n), fmt::format("{:.5f}", mix.quality.mean_divergence),
             predicted ? fmt::format("{:.5f}", mix.predicted) : "",
             fmt::format("{:.3f}", mix.quality.perplexity),
             fmt::format("{:+.2f} %", 100 * std::expm1(mix.loss.perplexity_rise)),
             fmt::format("{:.1f} %", 100 * mix.quality.same_best), mix.keeps ? "keeps" : "misses"},
            mix.keeps ? Ink::kGood : Ink::kBad);
}

std::string sensitivity_text(const MixAnswer& answer, const TextOptions& options) {
  std::vector<TextTable::Column> columns = {{"layers"}};
  for (const std::string& format : answer.question.formats) columns.push_back({format, true});
  TextTable table(std::move(columns), options);
  for (const MixGroup& group : answer.groups) {
    std::vector<std::string> cells = {group.end == group.begin + 1
                                          ? std::to_string(group.begin)
                                          : fmt::format("{}-{}", group.begin, group.end - 1)};
    for (std::size_t o = 1; o < group.options.size(); ++o) {
      cells.push_back(fmt::format("{:.6f}", group.options[o].loss));
    }
    table.add(std::move(cells));
  }
  return table.render();
}

}  // namespace

std::string mix_flags(const Decisions& decisions, bool weights) {
  if (weights) {
    return decisions.weight_layers.empty()
               ? "--weights stored"
               : fmt::format("--weight-layers {}", text_of(decisions.weight_layers));
  }
  std::string flags = fmt::format("--kv-cache-dtype {}", name_of(decisions.kv_format));
  if (decisions.kv_full_heads.any()) {
    flags += fmt::format(" --kv-full-heads {}", text_of(decisions.kv_full_heads));
  }
  if (!decisions.kv_layers.empty()) {
    flags += fmt::format(" --kv-layers {}", text_of(decisions.kv_layers));
  }
  if (decisions.kv_residual.any()) {
    flags += fmt::format(" --kv-residual {}", decisions.kv_residual.tokens.n);
  }
  return flags;
}

std::string mix_json(const MixReport& report) {
  const MixAnswer& answer = report.answer;
  const std::string& base = answer.question.base;
  return write_json({{"schema", "vramplan.mix/1"},
                     {"of", report.weights ? "weights" : "cache"},
                     {"verdict", answer.best < answer.runs.size() ? "found" : "base_only"},
                     {"model", report.model},
                     {"floor", text_of(answer.question.floor)},
                     {"text_tokens", report.tokens},
                     {"prefill_chunk_tokens", report.base.prefill_chunk.n},
                     {"context_tokens", report.base.context.n},
                     {"batch", report.base.batch},
                     {"passes", answer.passes},
                     {"base", mix_object(answer.base, base)},
                     {"uniform", list_of(answer.uniforms, base)},
                     {"groups", groups_array(answer)},
                     {"runs", list_of(answer.runs, base)},
                     {"found", mix_object(answer.found(), base)},
                     {"flags", mix_flags(report.found, report.weights)}});
}

std::string mix_text(const MixReport& report, const TextOptions& options) {
  const MixAnswer& answer = report.answer;
  const std::string& base = answer.question.base;
  std::string text =
      fmt::format("{}: {} tokens of text in chunks of {}, {} passes; floor {} against {}\n\n",
                  report.model, grouped(report.tokens), report.base.prefill_chunk.n, answer.passes,
                  text_of(answer.question.floor), report.weights ? "the file's own weights" : base);
  text += "Mean KL divergence (nats) when these layers alone have another format\n";
  text += sensitivity_text(answer, options);
  text += report.weights
              ? "\nWeights measured whole\n"
              : fmt::format("\nCaches measured whole; bytes at a context of {}, batch {}\n",
                            grouped(report.base.context.n), report.base.batch);
  TextTable table({{report.weights ? "weights" : "cache"},
                   {report.weights ? "bits/weight" : "B/token", true},
                   {"bytes", true, 4},
                   {"KL", true},
                   {"sum of groups", true, 3},
                   {"perplexity", true, 1},
                   {"rise", true},
                   {"same best", true, 2},
                   {"floor"}},
                  options);
  add_row(table, report, base, answer.base, false);
  for (std::size_t i = 0; i < answer.uniforms.size(); ++i) {
    add_row(table, report, answer.question.formats[i], answer.uniforms[i], true);
  }
  for (std::size_t i = 0; i < answer.runs.size(); ++i) {
    add_row(table, report, fmt::format("mix {}{}", i + 1, i == answer.best ? ", found" : ""),
            answer.runs[i], true);
  }
  text += table.render();
  const MeasuredMix& found = answer.found();
  if (answer.best == answer.runs.size()) {
    return text + fmt::format("\nNo mix that was run keeps the floor; {} does.\n", base);
  }
  const double share = 100.0 * static_cast<double>(found.size.bytes.n) /
                       static_cast<double>(answer.base.size.bytes.n);
  text += report.weights ? fmt::format("\n{} B of weights", grouped(found.size.bytes.n))
                         : fmt::format("\n{} B/token", grouped(found.size.per_token.n));
  text += fmt::format(", {:.1f} % of {}: {}\n", share, base, layers_text(found, base));
  return text + mix_flags(report.found, report.weights) + "\n";
}

}  // namespace vramplan::cli
