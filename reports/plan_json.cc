#include "reports/plan_json.h"

#include <fmt/format.h>

#include <charconv>
#include <climits>

#include "reports/engine_report.h"
#include "reports/json_reader.h"

namespace vramplan {
namespace {

using nlohmann::json;

constexpr const char* kSchema = "vramplan.plan/1";
constexpr int kTiers = 3, kCategories = 8, kPhases = 3;

json pools_array(const Decisions& d) {
  json pools = json::array();
  for (const WindowPool& pool : d.window_pools) {
    pools.push_back({{"window_tokens", pool.window.n}, {"blocks", pool.blocks.n}});
  }
  return pools;
}

json speculation_object(const GuessDecision& s) {
  return {{"guess", name_of(s.guess)},
          {"tokens", s.tokens},
          {"acceptance", s.acceptance},
          {"draft", s.draft},
          {"draft_hash", fmt::format("{:016x}", s.draft_hash)}};
}

json decisions_object(const Decisions& d) {
  json out = {
      {"model", d.model},
      {"set", d.set},
      {"card_hash", fmt::format("{:016x}", d.card_hash)},
      {"device", d.device},
      {"device_count", d.device_count},
      {"tp", d.sharding.tp},
      {"pp", d.sharding.pp},
      {"cp", d.sharding.cp},
      {"ep", d.sharding.ep},
      {"weights", d.weights ? json(info(*d.weights).name) : json(nullptr)},
      {"weight_streamed_layers", d.weight_offload.layers},
      {"weight_staging_layers", d.weight_offload.staging},
      {"activations", info(d.activations).name},
      {"kv_format", name_of(d.kv_format)},
      {"kv_policy", name_of(d.kv_policy)},
      {"kv_sink_tokens", d.kv_keep.sinks.n},
      {"kv_window_tokens", d.kv_keep.window.n},
      {"kv_budget_tokens", d.kv_keep.budget.n},
      {"kv_score", name_of(d.kv_score)},
      {"kv_residual_tokens", d.kv_residual.tokens.n},
      {"kv_residual_blocks", d.kv_residual.blocks.n},
      {"kv_stride", d.kv_residual.stride},
      {"kv_placement", name_of(d.kv_placement)},
      {"kv_resident_layers", d.kv_offload.resident},
      {"kv_staging_layers", d.kv_offload.staging},
      {"kv_layout", name_of(d.kv_layout)},
      {"block_tokens", d.block.n},
      {"kv_blocks", d.kv_blocks.n},
      {"preempt", name_of(d.preempt)},
      {"swap_blocks", d.swap_blocks.n},
      {"window_pools", pools_array(d)},
      {"context_tokens", d.context.n},
      {"output_tokens", d.output.n},
      {"batch", d.batch},
      {"samples", d.samples},
      {"beam_search", d.beam_search},
      {"shared_prefix_tokens", d.shared_prefix.n},
      {"prefill_chunk_tokens", d.prefill_chunk.n},
      {"activation_offload", d.activation_offload},
      {"attention", name_of(d.attention)},
      {"linear_inputs", info(d.linear_inputs).name},
      {"threads", d.threads},
      {"replicas", d.replicas},
      {"seed", d.seed},
      {"capacity_bytes", d.capacity.n},
  };
  if (!d.assume_like.empty()) out["assume_like"] = d.assume_like;
  if (d.speculation.any()) out["speculation"] = speculation_object(d.speculation);
  if (d.engine) out["engine"] = engine_decision_object(*d.engine);
  return out;
}

int small_count(const JsonReader& value) {
  const std::int64_t n = value.count();
  if (n > INT_MAX) value.fail("the count is too large");
  return static_cast<int>(n);
}

DType dtype_from(const JsonReader& value) {
  const auto dtype = dtype_from_name(value.text());
  if (!dtype) value.fail("'" + value.text() + "' is no element format");
  return *dtype;
}

std::uint64_t hash_from(const JsonReader& value) {
  const std::string text = value.text();
  std::uint64_t hash = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), hash, 16);
  if (status != std::errc() || rest != text.data() + text.size() || text.size() != 16) {
    value.fail("a hash has 16 hexadecimal digits");
  }
  return hash;
}

void pools_from(const JsonReader& in, Decisions& d) {
  d.kv_blocks = {in.at("kv_blocks").count()};
  if (in.has("preempt")) {
    d.preempt = in.at("preempt").word<Preempt>(kPreempts);
    d.swap_blocks = {in.at("swap_blocks").count()};
  }
  if (!in.has("window_pools")) return;  // records of before have none
  for (const JsonReader& pool : in.at("window_pools").items()) {
    d.window_pools.push_back({{pool.at("window_tokens").count()}, {pool.at("blocks").count()}});
  }
}

GuessDecision speculation_from(const JsonReader& in) {
  GuessDecision s{in.at("guess").word<Guess>(kGuesses), in.at("tokens").count(),
                  in.at("draft").text(), 0, in.at("acceptance").number()};
  if (s.guess == Guess::kDraft) s.draft_hash = hash_from(in.at("draft_hash"));
  return s;
}

Decisions decisions_from(const JsonReader& in) {
  Decisions d;
  d.model = in.at("model").text();
  d.set = in.at("set").texts();
  d.card_hash = hash_from(in.at("card_hash"));
  d.device = in.at("device").text();
  d.device_count = small_count(in.at("device_count"));
  d.sharding = {small_count(in.at("tp")), small_count(in.at("pp")), small_count(in.at("cp")),
                small_count(in.at("ep"))};
  if (!in.at("weights").is_null()) d.weights = dtype_from(in.at("weights"));
  if (in.has("weight_streamed_layers")) {  // records of before have none
    d.weight_offload = {in.at("weight_streamed_layers").count(),
                        in.at("weight_staging_layers").count()};
  }
  d.activations = dtype_from(in.at("activations"));
  d.kv_format = in.at("kv_format").word<KvFormat>(kKvFormats);
  d.kv_policy = in.at("kv_policy").word<KvPolicy>(kKvPolicies);
  if (d.kv_policy == KvPolicy::kSinkWindow || d.kv_policy == KvPolicy::kMass) {
    d.kv_keep = {{in.at("kv_sink_tokens").count()}, {in.at("kv_window_tokens").count()}, {}};
    if (in.has("kv_budget_tokens")) {  // records of before have none
      d.kv_keep.budget = {in.at("kv_budget_tokens").count()};
      d.kv_score = in.at("kv_score").word<KvScore>(kKvScores);
    }
  }
  if (in.has("kv_residual_tokens")) {  // records of before have none
    d.kv_residual = {{in.at("kv_residual_tokens").count()},
                     in.at("kv_stride").count(),
                     {in.at("kv_residual_blocks").count()}};
  }
  d.kv_placement = in.at("kv_placement").word<KvPlacement>(kKvPlacements);
  if (in.has("kv_resident_layers")) {  // records of before have none
    d.kv_offload = {in.at("kv_resident_layers").count(), in.at("kv_staging_layers").count()};
  }
  d.kv_layout = in.at("kv_layout").word<KvLayout>(kKvLayouts);
  if (in.has("samples")) d.samples = in.at("samples").count();
  if (in.has("beam_search")) d.beam_search = in.at("beam_search").boolean();
  if (in.has("shared_prefix_tokens")) d.shared_prefix = {in.at("shared_prefix_tokens").count()};
  d.block = {in.at("block_tokens").count()};
  pools_from(in, d);
  if (in.has("speculation")) d.speculation = speculation_from(in.at("speculation"));
  d.context = {in.at("context_tokens").count()};
  d.output = {in.at("output_tokens").count()};
  d.batch = in.at("batch").count();
  d.prefill_chunk = {in.at("prefill_chunk_tokens").count()};
  if (in.has("activation_offload")) d.activation_offload = in.at("activation_offload").boolean();
  d.attention = in.at("attention").word<AttentionAlgorithm>(2);
  d.linear_inputs = dtype_from(in.at("linear_inputs"));
  d.threads = small_count(in.at("threads"));
  if (in.has("replicas")) d.replicas = in.at("replicas").count();
  d.seed = in.at("seed").unsigned_integer();
  d.capacity = in.at("capacity_bytes").bytes();
  if (in.has("assume_like")) d.assume_like = in.at("assume_like").text();
  if (in.has("engine")) d.engine = engine_decision_from(in.at("engine"));
  return d;
}

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
    const int rank = small_count(device.at("rank"));
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
      {"decisions", decisions_object(plan.decisions)},
      {"assumptions", assumptions_array(plan.assumptions)},
  };
  if (const auto& s = p.speculation) {
    out["speculation"] = {{"tokens_a_step", finite(s->tokens_a_step)},
                          {"step_seconds", finite(s->step.v)},
                          {"plain_tpot_seconds", finite(s->plain_tpot.v)},
                          {"speedup", finite(s->speedup)}};
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
  plan.decisions = decisions_from(in.at("decisions"));
  if (in.has("speculation")) {
    const JsonReader s = in.at("speculation");
    p.speculation = {s.at("tokens_a_step").number(),
                     {s.at("step_seconds").number()},
                     {s.at("plain_tpot_seconds").number()},
                     s.at("speedup").number()};
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
