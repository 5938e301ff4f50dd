#include "reports/plan_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "reports/engine_report.h"
#include "reports/escape.h"
#include "reports/headline.h"
#include "reports/rank_groups.h"

namespace vramplan {
namespace {

std::string safe(const std::string& text, const TextOptions& o) {
  return terminal_text(text, o.ascii);
}

std::string bullet(const std::string& text, const TextOptions& o) {
  return "  - " + wrapped(safe(text, o), 4, o) + "\n";
}

std::string heading(const std::string& text, const TextOptions& o) {
  return "\n" + ink(text, Ink::kBold, o) + "\n";
}

std::string group_table(const Plan& plan, const RankGroup& group, const TextOptions& o) {
  const auto& devices = plan.predictions.devices;
  const auto device = std::find_if(devices.begin(), devices.end(), [&](const DevicePrediction& d) {
    return d.rank == group.first();
  });
  const Bytes capacity = device == devices.end() ? Bytes{} : device->capacity;
  TextTable table({{"tier", false, 3},
                   {"category"},
                   {"name"},
                   {"phase", false, 1},
                   {"bytes", true},
                   {"size", true, 2},
                   {"share", true, 4},
                   {"", false, 5},
                   {"formula", false, 6}},
                  o);
  const auto add = [&](const std::vector<std::string>& names, Bytes bytes, const std::string& why,
                       Ink color, bool with_share) {
    const bool known = with_share && capacity.n > 0;
    table.add({names[0], names[1], names[2], names[3], grouped(bytes.n), to_text(bytes),
               known ? fmt::format("{:.1f} %", 100 * share(bytes, capacity)) : "",
               known ? bar(share(bytes, capacity), 20, o) : "", why},
              color);
  };
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    if (row.rank != group.first()) continue;
    add({name_of(row.tier), name_of(row.category), safe(row.name, o), name_of(row.phase)},
        row.bytes, safe(row.formula, o), Ink::kPlain, row.tier == TierKind::kDevice);
  }
  table.add_rule();
  if (device != devices.end()) {
    add({"device", "peak", "highest phase", ""}, device->predicted, "", Ink::kBold, true);
    add({"device", "capacity", "", ""}, device->capacity, "", Ink::kPlain, false);
    const bool fits = device->headroom >= Bytes{0};
    add({"device", fits ? "left" : "MISSING", "", ""}, fits ? device->headroom : -device->headroom,
        "", fits ? Ink::kGood : Ink::kBad, true);
  }
  return heading(group.label(), o) + table.render();
}

std::string limits_text(const Plan& plan, const TextOptions& o) {
  const Predictions& p = plan.predictions;
  TextTable table({{"limit"}, {"value", true}, {"meaning", false, 1}}, o);
  table.add({"longest context", grouped(p.capacity.max_context.n), "tokens, at this batch"});
  table.add({"most sequences", grouped(p.capacity.max_sequences), "at this context"});
  table.add({"KV tokens", grouped(p.capacity.kv_tokens.n), "that the memory left over holds"});
  table.add({"KV = weights", grouped(p.capacity.kv_equals_weights.n), "tokens of context"});
  table.add({"weights", to_text(p.totals.weight_bytes), "whole model, before sharding"});
  table.add({"KV per token", to_text(Bytes{p.totals.kv_bytes_per_token.n}),
             "whole model, before sharding"});
  table.add({"parameters", grouped(p.totals.parameters.n),
             fmt::format("{} active for a token", grouped(p.totals.active_parameters.n))});
  return heading("limits", o) + table.render();
}

/// What a technique costs or gains, in a row of its own.
void add_techniques(const Predictions& p, TextTable& table) {
  if (const auto& s = p.speculation) {
    table.add({"guesses", fmt::format("{:.2f} tokens", s->tokens_a_step),
               fmt::format("a step of {}; {:.2f} times as fast as without", to_text(s->step),
                           s->speedup)});
  }
  if (const auto& f = p.preemption) {
    table.add({"preemption", to_text(f->seconds),
               fmt::format("in all, {} times; the other way {}", f->counts.preempted,
                           to_text(f->other_seconds))});
  }
  const auto& f = p.offload;
  if (!f) return;
  table.add({"offload", fmt::format("{:.2f} x", f->slowdown),
             fmt::format("a step of the same plan on the device: {}", to_text(f->device_tpot))});
  if (f->cache.n == 0) return;
  table.add({"cache back", to_text(f->reload),
             fmt::format("{} of a prompt over the link; computed again {}", to_text(f->cache),
                         to_text(f->recompute))});
  if (f->break_even.v > 0) {
    table.add({"break-even", fmt::format("{:.3g} GB/s", f->break_even.v / 1e9),
               "of the link: below it, computing the prompt again is faster"});
  }
}

std::string performance_text(const Plan& plan, const TextOptions& o) {
  const Performance& p = plan.predictions.performance;
  TextTable table({{"performance"}, {"predicted", true}, {"", false, 1}}, o);
  table.add({"TTFT", to_text(p.ttft), "time to first token"});
  table.add({"TPOT", to_text(p.tpot),
             "time per output token; memory traffic alone " + to_text(p.decode_floor)});
  table.add({"prefill rate", fmt::format("{:.1f} tok/s", p.prefill_tokens_per_second), ""});
  table.add({"decode rate", fmt::format("{:.1f} tok/s", p.tokens_per_second),
             "all sequences; limited by " + safe(p.limited_by, o)});
  add_techniques(plan.predictions, table);
  return heading("time (predicted)", o) + table.render() + time_terms_text(p, o);
}

}  // namespace

std::string verdict_line(bool good, const std::string& word, const std::string& sentence,
                         const TextOptions& o) {
  std::string loud = word;
  for (char& c : loud) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return ink(loud, good ? Ink::kGood : Ink::kBad, o) + "  " +
         wrapped(safe(sentence, o), text_columns(loud) + 2, o) + "\n";
}

std::string assumptions_text(const Plan& plan, const TextOptions& o) {
  if (plan.assumptions.empty()) return "";
  std::string out = heading("assumed", o);
  for (const Assumption& a : plan.assumptions) {
    out += bullet(a.what + ": " + a.value + (a.flag.empty() ? "" : " (change with " + a.flag + ")"),
                  o);
  }
  return out;
}

std::string time_terms_text(const Performance& performance, const TextOptions& o) {
  TextTable table(
      {{"phase"}, {"operation"}, {"seconds", true}, {"", false, 2}, {"limited by", false, 1}}, o);
  const auto add = [&](const char* phase, const std::vector<TimeTerm>& terms) {
    double sum = 0;
    for (const TimeTerm& term : terms) sum += term.seconds.v;
    for (const TimeTerm& term : terms) {
      table.add({phase, safe(term.op, o), to_text(term.seconds),
                 bar(sum > 0 ? term.seconds.v / sum : 0, 20, o), safe(term.limited_by, o)});
    }
  };
  add("prefill", performance.prefill_terms);
  add("decode step", performance.decode_terms);
  if (performance.prefill_terms.empty() && performance.decode_terms.empty()) return "";
  return "\n" + table.render();
}

std::string plan_text(const Plan& plan, const TextOptions& o) {
  const Predictions& p = plan.predictions;
  std::string out = verdict_line(p.fits, plan_word(plan), plan_headline(plan), o);
  out += "  " + wrapped(safe(configuration(plan), o), 2, o) + "\n";
  for (const RankGroup& group : rank_groups(plan)) out += group_table(plan, group, o);
  out += engine_text(plan, o);
  if (!p.binding_constraint.empty()) {
    out += heading("binding constraint", o) + bullet(p.binding_constraint, o);
  }
  if (!p.advice.empty()) {
    out +=
        heading(p.fits ? "what the memory left over buys" : "cheapest changes that would help", o);
    for (const std::string& line : p.advice) out += bullet(line, o);
  }
  out += limits_text(plan, o) + performance_text(plan, o) + assumptions_text(plan, o);
  return out;
}

}  // namespace vramplan
