#include "reports/plan_json.h"

#include <fmt/format.h>

#include <climits>

#include "reports/decisions_json.h"
#include "reports/engine_report.h"
#include "reports/json_reader.h"

namespace vramplan {
namespace {

using nlohmann::json;

constexpr const char* kSchema = "vramplan.plan/1";
constexpr int kTiers = 3, kCategories = 8, kPhases = 3;

json devices_array(const Predictions& p) {
  json devices = json::array();
  for (const DevicePrediction& device : p.devices) {
    json ledger = json::array();
    for (const LedgerRow& row : p.ledger.rows()) {
      if (row.rank != device.rank) continue;
      ledger.push_back({{"tier", name_of(row.tier)},
                        {"category", name_of(row.category)},
                        {"name", row.name},
                        {"phase", name_of(row.phase)},
                        {"bytes", row.bytes.n},
                        {"formula", row.formula}});
    }
    devices.push_back({{"rank", device.rank},
                       {"capacity_bytes", device.capacity.n},
                       {"predicted_bytes", device.predicted.n},
                       {"headroom_bytes", device.headroom.n},
                       {"ledger", std::move(ledger)}});
    if (device.engine) devices.back()["engine"] = engine_object(*device.engine);
  }
  return devices;
}

void devices_from(const JsonReader& in, Predictions& p) {
  for (const JsonReader& device : in.items()) {
    const std::int64_t rank_number = device.at("rank").count();
    if (rank_number > INT_MAX) device.at("rank").fail("the rank is too large");
    const int rank = static_cast<int>(rank_number);
    p.devices.push_back({rank, device.at("capacity_bytes").bytes(),
                         device.at("predicted_bytes").bytes(),
                         device.at("headroom_bytes").bytes()});
    for (const JsonReader& row : device.at("ledger").items()) {
      p.ledger.add({rank, row.at("tier").word<TierKind>(kTiers),
                    row.at("category").word<Category>(kCategories), row.at("name").text(),
                    row.at("phase").word<Phase>(kPhases), row.at("bytes").bytes(),
                    row.at("formula").text()});
    }
  }
}

json terms_array(const std::vector<TimeTerm>& terms) {
  json out = json::array();
  for (const TimeTerm& term : terms) {
    out.push_back(
        {{"op", term.op}, {"seconds", finite(term.seconds.v)}, {"limited_by", term.limited_by}});
  }
  return out;
}

std::vector<TimeTerm> terms_from(const JsonReader& in) {
  std::vector<TimeTerm> terms;
  for (const JsonReader& term : in.items()) {
    terms.push_back(
        {term.at("op").text(), {term.at("seconds").number()}, term.at("limited_by").text()});
  }
  return terms;
}

json performance_object(const Performance& p) {
  return {{"ttft_seconds", finite(p.ttft.v)},
          {"tpot_seconds", finite(p.tpot.v)},
          {"tokens_per_second", finite(p.tokens_per_second)},
          {"prefill_tokens_per_second", finite(p.prefill_tokens_per_second)},
          {"limited_by", p.limited_by},
          {"decode_floor_seconds", finite(p.decode_floor.v)},
          {"prefill_terms", terms_array(p.prefill_terms)},
          {"decode_terms", terms_array(p.decode_terms)}};
}

Performance performance_from(const JsonReader& in) {
  Performance p;
  p.ttft = {in.at("ttft_seconds").number()};
  p.tpot = {in.at("tpot_seconds").number()};
  p.tokens_per_second = in.at("tokens_per_second").number();
  p.prefill_tokens_per_second = in.at("prefill_tokens_per_second").number();
  p.limited_by = in.at("limited_by").text();
  p.decode_floor = {in.at("decode_floor_seconds").number()};
  p.prefill_terms = terms_from(in.at("prefill_terms"));
  p.decode_terms = terms_from(in.at("decode_terms"));
  return p;
}

json curve_array(const std::vector<CurvePoint>& curve) {
  json out = json::array();
  for (const CurvePoint& point : curve) {
    out.push_back({{"at_seconds", finite(point.at.v)},
                   {"phase", name_of(point.phase)},
                   {"bytes", point.bytes.n}});
  }
  return out;
}

json assumptions_array(const std::vector<Assumption>& assumptions) {
  json out = json::array();
  for (const Assumption& a : assumptions) {
    out.push_back({{"what", a.what}, {"value", a.value}, {"flag", a.flag}});
  }
  return out;
}

void totals_from(const JsonReader& in, Totals& t) {
  t.parameters = {in.at("parameters").count()};
  t.active_parameters = {in.at("active_parameters").count()};
  t.weight_bytes = in.at("weight_bytes").bytes();
  t.kv_bytes_per_token = {in.at("kv_bytes_per_token").count()};
  t.kv_bytes = in.at("kv_bytes").bytes();
}

void capacity_from(const JsonReader& in, Capacity& c) {
  c.max_context = {in.at("max_context_tokens").count()};
  c.max_sequences = in.at("max_sequences").count();
  c.kv_tokens = {in.at("kv_tokens").count()};
  c.kv_equals_weights = {in.at("kv_equals_weights_tokens").count()};
}

json preemption_object(const PreemptionPrediction& p) {
  return {{"preempted", p.counts.preempted},
          {"moved_blocks", p.counts.moved.n},
          {"recomputed_tokens", p.counts.recomputed.n},
          {"seconds", finite(p.seconds.v)},
          {"other_seconds", finite(p.other_seconds.v)},
          {"mean_running", finite(p.mean_running)}};
}

PreemptionPrediction preemption_from(const JsonReader& in) {
  return {{in.at("preempted").count(),
           {in.at("moved_blocks").count()},
           {in.at("recomputed_tokens").count()}},
          {in.at("seconds").number()},
          {in.at("other_seconds").number()},
          in.at("mean_running").number()};
}

}  // namespace

json plan_object(const Plan& plan) {
  const Predictions& p = plan.predictions;
  json out = {
      {"schema", kSchema},
      {"verdict", p.fits ? "fits" : "does_not_fit"},
      {"missing_bytes", p.missing.n},
      {"binding_constraint", p.binding_constraint},
      {"advice", p.advice},
      {"totals",
       {{"parameters", p.totals.parameters.n},
        {"active_parameters", p.totals.active_parameters.n},
        {"weight_bytes", p.totals.weight_bytes.n},
        {"kv_bytes_per_token", p.totals.kv_bytes_per_token.n},
        {"kv_bytes", p.totals.kv_bytes.n}}},
      {"devices", devices_array(p)},
      {"capacity",
       {{"max_context_tokens", p.capacity.max_context.n},
        {"max_sequences", p.capacity.max_sequences},
        {"kv_tokens", p.capacity.kv_tokens.n},
        {"kv_equals_weights_tokens", p.capacity.kv_equals_weights.n}}},
      {"performance", performance_object(p.performance)},
      {"curve", curve_array(p.curve)},
      {"decisions", decisions_object(plan)},
      {"assumptions", assumptions_array(plan.assumptions)},
  };
  if (const auto& s = p.speculation) {
    out["speculation_forecast"] = {{"tokens_a_step", finite(s->tokens_a_step)},
                                   {"step_seconds", finite(s->step.v)},
                                   {"plain_tpot_seconds", finite(s->plain_tpot.v)},
                                   {"speedup", finite(s->speedup)}};
  }
  if (const auto& f = p.offload) {
    out["offload"] = {{"device_tpot_seconds", finite(f->device_tpot.v)},
                      {"slowdown", finite(f->slowdown)},
                      {"cache_bytes", f->cache.n},
                      {"reload_seconds", finite(f->reload.v)},
                      {"recompute_seconds", finite(f->recompute.v)},
                      {"break_even_bytes_per_second", finite(f->break_even.v)}};
  }
  if (p.preemption) out["preemption"] = preemption_object(*p.preemption);
  if (p.serving) out["serving"] = serving_object(*p.serving);
  return out;
}

Plan plan_from(const JsonReader& in) {
  if (in.at("schema").text() != kSchema) {
    in.at("schema").fail("'" + in.at("schema").text() + "' is not " + kSchema);
  }
  Plan plan;
  Predictions& p = plan.predictions;
  const std::string verdict = in.at("verdict").text();
  if (verdict != "fits" && verdict != "does_not_fit") {
    in.at("verdict").fail("'" + verdict + "' is neither fits nor does_not_fit");
  }
  p.fits = verdict == "fits";
  p.missing = in.at("missing_bytes").bytes();
  p.binding_constraint = in.at("binding_constraint").text();
  p.advice = in.at("advice").texts();
  totals_from(in.at("totals"), p.totals);
  devices_from(in.at("devices"), p);
  capacity_from(in.at("capacity"), p.capacity);
  p.performance = performance_from(in.at("performance"));
  for (const JsonReader& point : in.at("curve").items()) {
    p.curve.push_back({{point.at("at_seconds").number()},
                       point.at("phase").word<Phase>(kPhases),
                       point.at("bytes").bytes()});
  }
  read_decisions(in.at("decisions"), plan);
  if (in.has("speculation_forecast")) {
    const JsonReader s = in.at("speculation_forecast");
    p.speculation = {s.at("tokens_a_step").number(),
                     {s.at("step_seconds").number()},
                     {s.at("plain_tpot_seconds").number()},
                     s.at("speedup").number()};
  }
  if (in.has("offload")) {
    const JsonReader f = in.at("offload");
    p.offload = {{f.at("device_tpot_seconds").number()},
                 f.at("slowdown").number(),
                 f.at("cache_bytes").bytes(),
                 {f.at("reload_seconds").number()},
                 {f.at("recompute_seconds").number()},
                 {f.at("break_even_bytes_per_second").number()}};
  }
  if (in.has("preemption")) p.preemption = preemption_from(in.at("preemption"));
  for (const JsonReader& a : in.at("assumptions").items()) {
    plan.assumptions.push_back({a.at("what").text(), a.at("value").text(), a.at("flag").text()});
  }
  return plan;
}

std::string plan_json(const Plan& plan) { return write_json(plan_object(plan)); }

Plan read_plan_json(const std::string& text, const std::string& file_name) {
  const json document = parse_json(text, file_name);
  return plan_from(JsonReader(document, file_name));
}

}  // namespace vramplan
