#include "reports/search_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "modelcards/yaml.h"
#include "reports/escape.h"
#include "reports/json_reader.h"

namespace vramplan {
namespace {

using nlohmann::json;

/// The columns of every flat form, in order.
std::vector<std::pair<std::string, std::string>> cells(const Evaluation& e,
                                                       const SearchRequest& request,
                                                       const StrategySpace& space) {
  const Strategy& s = e.strategy;
  const std::string price = e.usd_per_hour ? fmt::format("{:.4g}", *e.usd_per_hour) : "";
  const auto each = e.usd_per_million_tokens();
  const std::string token = each ? fmt::format("{:.4g}", *each) : "";
  return {{"device", request.devices[s.device].name},
          {"devices", std::to_string(s.devices())},
          {"nodes", std::to_string(e.nodes)},
          {"tp", std::to_string(s.tp)},
          {"pp", std::to_string(s.pp)},
          {"cp", std::to_string(s.cp)},
          {"ep", std::to_string(s.ep)},
          {"replicas", std::to_string(s.replicas)},
          {"weights", space.weights()[s.format].name},
          {"kv_format", name_of(space.kv_formats()[s.kv_format].format)},
          {"tier", name_of(space.tiers()[s.tier])},
          {"batch", std::to_string(s.batch)},
          {"peak_bytes", std::to_string(e.peak.n)},
          {"headroom_bytes", std::to_string(e.headroom.n)},
          {"ttft_seconds", fmt::format("{:.6g}", e.ttft.v)},
          {"tpot_seconds", fmt::format("{:.6g}", e.tpot.v)},
          {"tokens_per_second", fmt::format("{:.6g}", e.tokens_per_second)},
          {"usd_per_hour", price},
          {"usd_per_million_tokens", token}};
}

json object(const Evaluation& e, const SearchRequest& request, const StrategySpace& space) {
  const Strategy& s = e.strategy;
  json out = {{"device", request.devices[s.device].name},
              {"devices", s.devices()},
              {"nodes", e.nodes},
              {"tp", s.tp},
              {"pp", s.pp},
              {"cp", s.cp},
              {"ep", s.ep},
              {"replicas", s.replicas},
              {"weights", space.weights()[s.format].name},
              {"kv_format", name_of(space.kv_formats()[s.kv_format].format)},
              {"tier", name_of(space.tiers()[s.tier])},
              {"batch", s.batch},
              {"peak_bytes", e.peak.n},
              {"headroom_bytes", e.headroom.n},
              {"ttft_seconds", finite(e.ttft.v)},
              {"tpot_seconds", finite(e.tpot.v)},
              {"tokens_per_second", finite(e.tokens_per_second)}};
  if (e.usd_per_hour) out["usd_per_hour"] = finite(*e.usd_per_hour);
  if (const auto each = e.usd_per_million_tokens()) out["usd_per_million_tokens"] = finite(*each);
  return out;
}

std::string weights_text(const Strategy& s, const StrategySpace& space) {
  std::string text = space.weights()[s.format].name;
  if (space.tiers()[s.tier].weights_on_host) text += " host";
  if (space.tiers()[s.tier].hidden_on_host) text += ", layer by layer";
  return text;
}

/// "fp8", or "fp8 host" for a cache beyond the device.
std::string cache_text(const Strategy& s, const StrategySpace& space) {
  std::string text = name_of(space.kv_formats()[s.kv_format].format);
  const SearchTier& tier = space.tiers()[s.tier];
  if (tier.cache != KvPlacement::kDevice) text += std::string(" ") + name_of(tier);
  return text;
}

/// "tp 8, pp 1", and the others where they are more than 1.
std::string sharding_text(const Strategy& s) {
  std::string text = fmt::format("tp {}, pp {}", s.tp, s.pp);
  if (s.cp > 1) text += fmt::format(", cp {}", s.cp);
  if (s.ep > 1) text += fmt::format(", ep {}", s.ep);
  return text;
}

std::string line_of(const Evaluation& e, const SearchRequest& request, const StrategySpace& space) {
  const Strategy& s = e.strategy;
  std::string line = fmt::format(
      "{} x {} ({}, {} replica{}), weights {}, KV {}, batch {}: TTFT {}, TPOT {}, "
      "{:.0f} tokens/s",
      s.devices(), request.devices[s.device].name, sharding_text(s), s.replicas,
      s.replicas == 1 ? "" : "s", weights_text(s, space), cache_text(s, space), s.batch,
      to_text(e.ttft), to_text(e.tpot), e.tokens_per_second);
  if (const auto each = e.usd_per_million_tokens()) {
    line += fmt::format(", ${:.2f}/h, ${:.3f} per million tokens", *e.usd_per_hour, *each);
  }
  return line;
}

struct Named {
  const char* name;
  const std::optional<Evaluation>& best;
};
std::vector<Named> answers(const SearchResult& r) {
  return {{"smallest", r.smallest}, {"cheapest", r.cheapest}, {"fastest", r.fastest}};
}

}  // namespace

std::string search_json(const SearchResult& r, const SearchRequest& request,
                        const StrategySpace& space) {
  json front = json::array(), prices = json::array(), assumptions = json::array();
  for (const Evaluation& e : r.front) front.push_back(object(e, request, space));
  for (const ShadowPrice& p : r.shadow_prices)
    prices.push_back({{"what", p.what}, {"buys", p.buys}});
  for (const Assumption& a : r.assumptions) {
    assumptions.push_back({{"what", a.what}, {"value", a.value}, {"flag", a.flag}});
  }
  json out = {{"schema", "vramplan.search/1"},      {"verdict", r.smallest ? "found" : "none"},
              {"evaluated", r.evaluated},           {"fitting", r.fitting},
              {"within_limits", r.within_limits},   {"front", std::move(front)},
              {"shadow_prices", std::move(prices)}, {"assumptions", std::move(assumptions)}};
  for (const Named& answer : answers(r)) {
    out[answer.name] = answer.best ? object(*answer.best, request, space) : json(nullptr);
  }
  if (!r.binding.empty()) out["binding_constraint"] = r.binding;
  return write_json(out);
}

std::string search_text(const SearchResult& r, const SearchRequest& request,
                        const StrategySpace& space, const TextOptions& o) {
  std::string out = r.smallest ? ink("FOUND", Ink::kGood, o) + "  " +
                                     fmt::format("{} of {} strategies fit and meet the limits\n",
                                                 r.within_limits, r.evaluated)
                               : ink("NONE", Ink::kBad, o) + "  " + wrapped(r.binding, 6, o) + "\n";
  for (const Named& answer : answers(r)) {
    if (!answer.best) continue;
    out +=
        "  " +
        wrapped(fmt::format("{}: {}", answer.name, line_of(*answer.best, request, space)), 4, o) +
        "\n";
  }
  if (!r.front.empty()) {
    out += "\n" +
           ink("front: nothing is better in price, TPOT and tokens/s at once", Ink::kBold, o) +
           "\n";
    TextTable table({{"device"},
                     {"n", true},
                     {"tp", true},
                     {"pp", true, 3},
                     {"cp", true, 3},
                     {"ep", true, 3},
                     {"x", true, 4},
                     {"weights"},
                     {"KV", false, 2},
                     {"batch", true},
                     {"TTFT", true},
                     {"TPOT", true},
                     {"tok/s", true},
                     {"$/h", true, 1},
                     {"peak", true, 2}},
                    o);
    for (const Evaluation& e : r.front) {
      const Strategy& s = e.strategy;
      table.add({request.devices[s.device].name, std::to_string(s.devices()), std::to_string(s.tp),
                 std::to_string(s.pp), std::to_string(s.cp), std::to_string(s.ep),
                 std::to_string(s.replicas), weights_text(s, space), cache_text(s, space),
                 std::to_string(s.batch), to_text(e.ttft), to_text(e.tpot),
                 fmt::format("{:.0f}", e.tokens_per_second),
                 e.usd_per_hour ? fmt::format("{:.2f}", *e.usd_per_hour) : "-", to_text(e.peak)});
    }
    out += table.render();
  }
  if (!r.shadow_prices.empty()) out += "\n" + ink("at the smallest", Ink::kBold, o) + "\n";
  for (const ShadowPrice& p : r.shadow_prices) {
    out += "  - " + wrapped(p.what + ": " + p.buys, 4, o) + "\n";
  }
  out += "\n" + ink("assumed", Ink::kBold, o) + "\n";
  for (const Assumption& a : r.assumptions) {
    out += "  - " + wrapped(a.what + ": " + a.value + " (change with " + a.flag + ")", 4, o) + "\n";
  }
  return out;
}

std::string search_markdown(const SearchResult& r, const SearchRequest& request,
                            const StrategySpace& space) {
  std::string out;
  for (const Named& answer : answers(r)) {
    if (!answer.best) continue;
    out += fmt::format("- **{}**: {}\n", answer.name,
                       markdown_text(line_of(*answer.best, request, space)));
  }
  if (!r.binding.empty()) out += markdown_text(r.binding) + "\n";
  std::string rule;
  for (std::size_t i = 0; i < r.front.size(); ++i) {
    std::string head, line;
    for (const auto& [name, value] : cells(r.front[i], request, space)) {
      head += "| " + markdown_text(name) + " ";
      line += "| " + markdown_text(value) + " ";
      if (i == 0) rule += "|---";
    }
    if (i == 0) out += "\n" + head + "|\n" + rule + "|\n";
    out += line + "|\n";
  }
  return out;
}

std::string search_csv(const SearchResult& r, const SearchRequest& request,
                       const StrategySpace& space) {
  std::string out;
  for (std::size_t i = 0; i < r.front.size(); ++i) {
    std::string head, line;
    for (const auto& [name, value] : cells(r.front[i], request, space)) {
      head += (head.empty() ? "" : ",") + name;
      line += (line.empty() ? "" : ",") + value;
    }
    if (i == 0) out += head + "\n";
    out += line + "\n";
  }
  return out;
}

std::string search_yaml(const SearchResult& r, const SearchRequest& request,
                        const StrategySpace& space) {
  std::string out = "schema: vramplan.search/1\n";
  const auto map = [&](const char* indent, const Evaluation& e, bool item) {
    bool first = item;
    for (const auto& [name, value] : cells(e, request, space)) {
      if (value.empty()) continue;
      const bool text =
          name == "device" || name == "weights" || name == "kv_format" || name == "tier";
      out += fmt::format("{}{}{}: {}\n", indent,
                         first  ? "- "
                         : item ? "  "
                                : "",
                         name, text ? yaml_quoted(value) : value);
      first = false;
    }
  };
  for (const Named& answer : answers(r)) {
    if (!answer.best) continue;
    out += fmt::format("{}:\n", answer.name);
    map("  ", *answer.best, false);
  }
  out += r.front.empty() ? "front: []\n" : "front:\n";
  for (const Evaluation& e : r.front) map("  ", e, true);
  return out;
}

}  // namespace vramplan
