#include "reports/run_json.h"

#include <climits>

#include "reports/json_reader.h"
#include "reports/plan_json.h"

namespace vramplan {
namespace {

using nlohmann::json;

constexpr const char* kRunSchema = "vramplan.run/1";
constexpr const char* kVerifySchema = "vramplan.verify/1";
constexpr int kTiers = 3, kCategories = 8, kPhases = 3;

json row_object(const VerdictRow& row) {
  const bool measured = row.outcome != Outcome::kNotMeasured;
  return {{"rank", row.rank},
          {"tier", name_of(row.tier)},
          {"category", name_of(row.category)},
          {"name", row.name},
          {"phase", name_of(row.phase)},
          {"predicted_bytes", row.predicted.n},
          {"observed_bytes", measured ? json(row.observed.n) : json(nullptr)},
          {"error_bytes", measured ? json(row.error.n) : json(nullptr)},
          {"tolerance_bytes", row.tolerance.n},
          {"under_tolerance_bytes", row.under_tolerance.n},
          {"outcome", name_of(row.outcome)},
          {"gates", row.gates},
          {"formula", row.formula},
          {"probe", row.probe}};
}

json rows_array(const std::vector<VerdictRow>& rows) {
  json out = json::array();
  for (const VerdictRow& row : rows) out.push_back(row_object(row));
  return out;
}

json times_array(const std::vector<TimeRow>& times) {
  json out = json::array();
  for (const TimeRow& row : times) {
    const bool measured = row.outcome != Outcome::kNotMeasured;
    out.push_back({{"name", row.name},
                   {"predicted", finite(row.predicted)},
                   {"observed", measured ? finite(row.observed) : json(nullptr)},
                   {"error_share", measured ? finite(row.error) : json(nullptr)},
                   {"tolerance_share", finite(row.tolerance)},
                   {"optimistic", row.optimistic},
                   {"outcome", name_of(row.outcome)},
                   {"gates", row.gates}});
  }
  return out;
}

json terms_array(const std::vector<ObservedTerm>& terms) {
  json out = json::array();
  for (const ObservedTerm& term : terms) {
    out.push_back(
        {{"op", term.op}, {"calls", finite(term.calls)}, {"seconds", finite(term.seconds.v)}});
  }
  return out;
}

json performance_object(const Performance& predicted, const Timings& observed) {
  return {{"predicted",
           {{"ttft_seconds", finite(predicted.ttft.v)},
            {"tpot_seconds", finite(predicted.tpot.v)},
            {"tokens_per_second", finite(predicted.tokens_per_second)},
            {"prefill_tokens_per_second", finite(predicted.prefill_tokens_per_second)},
            {"limited_by", predicted.limited_by}}},
          {"observed",
           {{"ttft_seconds", finite(observed.ttft.v)},
            {"tpot_seconds", finite(observed.tpot.v)},
            {"tokens_per_second", finite(observed.decode_tokens_per_second)},
            {"prefill_tokens_per_second", finite(observed.prefill_tokens_per_second)},
            {"rounds", observed.rounds},
            {"load_seconds", finite(observed.load.v)},
            {"prefill_seconds", finite(observed.prefill.v)},
            {"decode_seconds", finite(observed.decode.v)},
            {"prefill_tokens", observed.prefill_tokens},
            {"decode_steps", observed.decode_steps},
            {"decode_tokens", observed.decode_tokens},
            {"decode_step_seconds", observed.decode_step_seconds},
            {"memory_bytes_per_second", finite(observed.memory_bytes_per_s)},
            {"card_memory_bytes_per_second", finite(observed.card_memory_bytes_per_s)},
            {"prefill_terms", terms_array(observed.prefill_terms)},
            {"decode_terms", terms_array(observed.decode_terms)}}}};
}

json capacity_array(const std::vector<RankCapacity>& ranks) {
  json out = json::array();
  for (const RankCapacity& c : ranks) {
    out.push_back({{"rank", c.rank},
                   {"capacity_bytes", c.capacity.n},
                   {"free_bytes", c.free.n},
                   {"rows_bytes", c.rows.n},
                   {"unaccounted_bytes", c.unaccounted.n}});
  }
  return out;
}

json samples_array(const std::vector<MemorySample>& samples) {
  json out = json::array();
  for (const MemorySample& s : samples) {
    out.push_back({{"at_seconds", finite(s.at.v)},
                   {"phase", name_of(s.phase)},
                   {"moment", s.moment},
                   {"taken_bytes", s.taken.n},
                   {"resident_bytes", s.resident.n == 0 ? json(nullptr) : json(s.resident.n)}});
  }
  return out;
}

json scoring_object(const Verdict& verdict) {
  json terms = json::array();
  for (const TermScore& term : verdict.terms) {
    terms.push_back({{"category", name_of(term.category)},
                     {"rows", term.rows},
                     {"not_measured", term.not_measured},
                     {"predicted_bytes", term.predicted.n},
                     {"observed_bytes", term.observed.n},
                     {"error_bytes", term.error.n},
                     {"worst_error_bytes", term.worst.n}});
  }
  return {{"terms", std::move(terms)},
          {"under_predictions", verdict.under_predictions},
          {"worst_error_bytes", verdict.worst_error.n},
          {"worst_row", verdict.worst_row}};
}

json environment_object(const Environment& e) {
  return {{"machine", e.machine}, {"cpu", e.cpu},         {"kernel", e.kernel},
          {"commit", e.commit},   {"backend", e.backend}, {"time_utc", e.time_utc},
          {"threads", e.threads}};
}

json tolerances_object(const Tolerances& t) {
  return {{"activations_share", t.activations},
          {"process_share", t.process},
          {"process_floor_bytes", t.process_floor.n},
          {"process_under_share", t.process_under},
          {"decode_share", t.decode},
          {"prefill_share", t.prefill},
          {"gate_times", t.gate_times}};
}

json replicas_object(const Measurement& m) {
  json list = json::array();
  for (const ReplicaMeasurement& r : m.replicas) {
    list.push_back({{"resident_bytes", r.resident.n},
                    {"proportional_bytes", r.proportional.n},
                    {"own_bytes", r.own.n},
                    {"ttft_seconds", finite(r.ttft.v)},
                    {"tpot_seconds", finite(r.tpot.v)},
                    {"same_output", r.same_output}});
  }
  return {{"parent_proportional_bytes", m.parent_proportional.n}, {"processes", std::move(list)}};
}

std::vector<ReplicaMeasurement> replicas_from(const JsonReader& in) {
  std::vector<ReplicaMeasurement> replicas;
  for (const JsonReader& r : in.items()) {
    replicas.push_back({r.at("resident_bytes").bytes(),
                        r.at("proportional_bytes").bytes(),
                        r.at("own_bytes").bytes(),
                        {r.at("ttft_seconds").number()},
                        {r.at("tpot_seconds").number()},
                        r.at("same_output").boolean()});
  }
  return replicas;
}

std::string document(const RunRecord& run, const char* schema) {
  const Measurement& m = run.measurement;
  json object = {
      {"schema", schema},
      {"verdict", run.verdict.within ? "within_tolerance" : "out_of_tolerance"},
      {"exit_code", exit_code_of(run.verdict)},
      {"complete", m.complete},
      {"rows", rows_array(run.verdict.rows)},
      {"process", row_object(run.verdict.process)},
      {"times", times_array(run.verdict.times)},
      {"performance", performance_object(run.plan.predictions.performance, m.timings)},
      {"capacity", capacity_array(m.capacity)},
      {"samples", samples_array(m.samples)},
      {"scoring", scoring_object(run.verdict)},
      {"failures", run.verdict.failures},
      {"notes", run.verdict.notes},
      {"environment", environment_object(m.environment)},
      {"tolerances", tolerances_object(run.tolerances)},
      {"output", {{"token_ids", m.output}, {"text", m.text}}},
      {"plan", plan_object(run.plan)},
  };
  if (m.preemption) {
    object["preemption"] = {{"preempted", m.preemption->preempted},
                            {"moved_blocks", m.preemption->moved.n},
                            {"recomputed_tokens", m.preemption->recomputed.n}};
  }
  if (!m.scores.empty()) object["output"]["scores"] = m.scores;
  if (const auto& s = m.speculation) {
    object["speculation_counts"] = {
        {"steps", s->steps},        {"asked", s->asked},
        {"tested", s->tested},      {"accepted", s->accepted},
        {"tokens", s->tokens},      {"tokens_a_step", finite(m.timings.tokens_a_step)},
        {"by_chance", s->by_chance}};
    if (const auto& judged = run.verdict.speculation) {
      const auto& given = judged->tpot_given;
      object["speculation_counts"].update(
          {{"assumed_acceptance", finite(judged->assumed_acceptance)},
           {"acceptance", given ? finite(judged->acceptance) : json(nullptr)},
           {"tpot_given_acceptance_seconds", given ? finite(given->v) : json(nullptr)}});
    }
  }
  object["result_cache"] = {{"on", m.result_cache.has_value()}};
  if (const auto& cache = m.result_cache) {
    object["result_cache"].update({{"hit", cache->hit},
                                   {"entries", cache->entries},
                                   {"bytes", cache->bytes.n},
                                   {"most_bytes", cache->most.n}});
  }
  if (!m.replicas.empty()) object["replicas"] = replicas_object(m);
  return write_json(object);
}

void observed_from(const JsonReader& rows, Ledger& observed) {
  for (const JsonReader& row : rows.items()) {
    if (row.at("observed_bytes").is_null()) continue;
    const std::int64_t rank = row.at("rank").count();
    if (rank > INT_MAX) row.at("rank").fail("the rank is too large");
    observed.add({static_cast<int>(rank), row.at("tier").word<TierKind>(kTiers),
                  row.at("category").word<Category>(kCategories), row.at("name").text(),
                  row.at("phase").word<Phase>(kPhases), row.at("observed_bytes").bytes(),
                  row.at("probe").text()});
  }
}

std::vector<ObservedTerm> terms_from(const JsonReader& in) {
  std::vector<ObservedTerm> terms;
  for (const JsonReader& term : in.items()) {
    terms.push_back(
        {term.at("op").text(), term.at("calls").number(), {term.at("seconds").number()}});
  }
  return terms;
}

Timings timings_from(const JsonReader& in) {
  Timings t;
  t.rounds = in.at("rounds").count();
  t.load = {in.at("load_seconds").number()};
  t.ttft = {in.at("ttft_seconds").number()};
  t.prefill = {in.at("prefill_seconds").number()};
  t.decode = {in.at("decode_seconds").number()};
  t.prefill_tokens = in.at("prefill_tokens").count();
  t.decode_steps = in.at("decode_steps").count();
  t.decode_tokens = in.at("decode_tokens").count();
  t.prefill_tokens_per_second = in.at("prefill_tokens_per_second").number();
  t.decode_tokens_per_second = in.at("tokens_per_second").number();
  t.tpot = {in.at("tpot_seconds").number()};
  for (const JsonReader& step : in.at("decode_step_seconds").items()) {
    t.decode_step_seconds.push_back(step.number());
  }
  t.memory_bytes_per_s = in.at("memory_bytes_per_second").number();
  t.card_memory_bytes_per_s = in.at("card_memory_bytes_per_second").number();
  t.prefill_terms = terms_from(in.at("prefill_terms"));
  t.decode_terms = terms_from(in.at("decode_terms"));
  return t;
}

Environment environment_from(const JsonReader& in) {
  const std::int64_t threads = in.at("threads").count();
  if (threads > INT_MAX) in.at("threads").fail("the count is too large");
  return {in.at("machine").text(),  in.at("cpu").text(),     in.at("kernel").text(),
          in.at("commit").text(),   in.at("backend").text(), in.at("time_utc").text(),
          static_cast<int>(threads)};
}

Tolerances tolerances_from(const JsonReader& in) {
  Tolerances t;
  t.activations = in.at("activations_share").number();
  t.process = in.at("process_share").number();
  t.process_floor = in.at("process_floor_bytes").bytes();
  t.process_under = in.at("process_under_share").number();
  t.decode = in.at("decode_share").number();
  t.prefill = in.at("prefill_share").number();
  t.gate_times = in.at("gate_times").boolean();
  return t;
}

std::vector<std::vector<std::int32_t>> tokens_from(const JsonReader& in) {
  std::vector<std::vector<std::int32_t>> sequences;
  for (const JsonReader& sequence : in.items()) {
    sequences.emplace_back();
    for (const JsonReader& id : sequence.items()) {
      if (id.count() > INT32_MAX) id.fail("a token id has 31 bits");
      sequences.back().push_back(static_cast<std::int32_t>(id.count()));
    }
  }
  return sequences;
}

Measurement measurement_from(const JsonReader& in) {
  Measurement m;
  m.complete = in.at("complete").boolean();
  observed_from(in.at("rows"), m.observed);
  const JsonReader peak = in.at("process").at("observed_bytes");
  if (!peak.is_null()) m.process_peak = peak.bytes();
  m.timings = timings_from(in.at("performance").at("observed"));
  for (const JsonReader& c : in.at("capacity").items()) {
    const std::int64_t rank = c.at("rank").count();
    if (rank > INT_MAX) c.at("rank").fail("the rank is too large");
    m.capacity.push_back({static_cast<int>(rank), c.at("capacity_bytes").bytes(),
                          c.at("free_bytes").bytes(), c.at("rows_bytes").bytes(),
                          c.at("unaccounted_bytes").bytes()});
  }
  for (const JsonReader& s : in.at("samples").items()) {
    const JsonReader resident = s.at("resident_bytes");
    m.samples.push_back({{s.at("at_seconds").number()},
                         s.at("phase").word<Phase>(kPhases),
                         s.at("moment").text(),
                         s.at("taken_bytes").bytes(),
                         resident.is_null() ? Bytes{} : resident.bytes()});
  }
  m.environment = environment_from(in.at("environment"));
  if (in.has("preemption")) {
    const JsonReader p = in.at("preemption");
    m.preemption = {p.at("preempted").count(),
                    {p.at("moved_blocks").count()},
                    {p.at("recomputed_tokens").count()}};
  }
  if (in.has("speculation_counts")) {
    const JsonReader s = in.at("speculation_counts");
    m.speculation = {s.at("steps").count(),  s.at("asked").count(),  s.at("accepted").count(),
                     s.at("tokens").count(), s.at("tested").count(), s.at("by_chance").boolean()};
    m.timings.tokens_a_step = s.at("tokens_a_step").number();
  }
  if (in.has("result_cache") && in.at("result_cache").at("on").boolean()) {
    const JsonReader c = in.at("result_cache");
    m.result_cache = {c.at("hit").boolean(), c.at("entries").count(), c.at("bytes").bytes(),
                      c.at("most_bytes").bytes()};
  }
  if (in.has("replicas")) {
    m.parent_proportional = in.at("replicas").at("parent_proportional_bytes").bytes();
    m.replicas = replicas_from(in.at("replicas").at("processes"));
  }
  m.output = tokens_from(in.at("output").at("token_ids"));
  m.text = in.at("output").at("text").text();
  return m;
}

}  // namespace

int exit_code_of(const Verdict& verdict) {
  return verdict.within ? 0 : exit_code(ErrorCode::kOutOfTolerance);
}

std::string run_json(const RunRecord& run) { return document(run, kRunSchema); }
std::string verify_json(const RunRecord& run) { return document(run, kVerifySchema); }

RunRecord read_run_json(const std::string& text, const std::string& file_name) {
  const json object = parse_json(text, file_name);
  const JsonReader in(object, file_name);
  const std::string schema = in.at("schema").text();
  if (schema != kRunSchema && schema != kVerifySchema) {
    in.at("schema").fail("'" + schema + "' is neither " + kRunSchema + " nor " + kVerifySchema);
  }
  const std::string saved = in.at("verdict").text();
  if (saved != "within_tolerance" && saved != "out_of_tolerance") {
    in.at("verdict").fail("'" + saved + "' is neither within_tolerance nor out_of_tolerance");
  }
  RunRecord run = make_run(file_name, plan_from(in.at("plan")), measurement_from(in),
                           tolerances_from(in.at("tolerances")));
  if ((saved == "within_tolerance") != run.verdict.within) {
    run.verdict.notes.push_back("the file says " + saved +
                                "; judged anew from its rows this does not hold");
  }
  return run;
}

}  // namespace vramplan
