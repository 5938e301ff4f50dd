#include "reports/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "planner/speculation.h"

namespace vramplan {
namespace {

using Key = std::tuple<int, TierKind, Category, std::string, Phase>;

Key key_of(const LedgerRow& row) { return {row.rank, row.tier, row.category, row.name, row.phase}; }

/// floor(share * bytes), never negative.
Bytes share_of(double share, Bytes bytes) {
  return {static_cast<std::int64_t>(
      std::floor(share * static_cast<double>(std::max<std::int64_t>(bytes.n, 0))))};
}

Bytes magnitude(Bytes error) { return error < Bytes{0} ? -error : error; }

bool is_exact(const VerdictRow& row) {
  switch (row.category) {
    case Category::kWeights:
    case Category::kKvCache:
    case Category::kDraft:
      return true;
    default:
      return row.category == Category::kRuntime && row.name == "arena padding";
  }
}

void set_process_tolerance(VerdictRow& row, const Tolerances& tolerances) {
  row.tolerance = std::max(share_of(tolerances.process, row.observed), tolerances.process_floor);
  row.under_tolerance = share_of(tolerances.process_under, row.observed);
}

void set_tolerance(VerdictRow& row, const Tolerances& tolerances) {
  if (is_exact(row)) {
    row.gates = true;
  } else if (row.category == Category::kActivations) {
    row.gates = true;
    row.tolerance = row.under_tolerance = share_of(tolerances.activations, row.observed);
  } else {
    set_process_tolerance(row, tolerances);
  }
}

void set_outcome(VerdictRow& row) {
  row.error = row.predicted - row.observed;
  row.outcome = Outcome::kWithin;
  if (row.error > row.tolerance) row.outcome = Outcome::kOver;
  if (-row.error > row.under_tolerance) row.outcome = Outcome::kUnder;
}

VerdictRow blank_row(const LedgerRow& source) {
  VerdictRow row;
  row.rank = source.rank;
  row.tier = source.tier;
  row.category = source.category;
  row.name = source.name;
  row.phase = source.phase;
  return row;
}

void append_reason(std::string& all, const std::string& reason) {
  if (reason.empty() || all == reason) return;
  all += (all.empty() ? "" : " + ") + reason;
}

/// Predicted rows in their order, then those that were only observed.
std::vector<VerdictRow> join(const Ledger& predicted, const Ledger& observed,
                             const Tolerances& tolerances) {
  std::vector<VerdictRow> rows;
  std::map<Key, std::size_t> index;
  std::vector<bool> seen;
  const auto row_of = [&](const LedgerRow& source) {
    const auto [at, is_new] = index.try_emplace(key_of(source), rows.size());
    if (is_new) {
      rows.push_back(blank_row(source));
      seen.push_back(false);
    }
    return at->second;
  };
  for (const LedgerRow& source : predicted.rows()) {
    VerdictRow& row = rows[row_of(source)];
    row.predicted += source.bytes;
    append_reason(row.formula, source.formula);
  }
  for (const LedgerRow& source : observed.rows()) {
    const std::size_t at = row_of(source);
    rows[at].observed += source.bytes;
    append_reason(rows[at].probe, source.formula);
    seen[at] = true;
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    set_tolerance(rows[i], tolerances);
    if (seen[i]) set_outcome(rows[i]);
  }
  return rows;
}

VerdictRow judge_process(const Plan& plan, const Measurement& measurement,
                         const Tolerances& tolerances) {
  const Ledger& ledger = plan.predictions.ledger;
  const bool one_memory = measurement.environment.backend == "cpu";
  VerdictRow row;
  row.category = Category::kRuntime;
  row.name = "process peak";
  for (const Phase phase : {Phase::kLoad, Phase::kPrefill, Phase::kDecode}) {
    Bytes live = ledger.live(0, TierKind::kDevice, phase);
    if (one_memory) live += ledger.live(0, TierKind::kHost, phase);
    if (live > row.predicted) {
      row.predicted = live;
      row.phase = phase;
    }
  }
  row.formula = one_memory ? "max over phases of live device + host rows of rank 0"
                           : "max over phases of live device rows of rank 0";
  row.gates = !is_dry(measurement);
  if (is_dry(measurement) || measurement.process_peak.n == 0) return row;
  row.observed = measurement.process_peak;
  row.probe = one_memory ? "highest resident bytes of the process" : "highest bytes the driver saw";
  if (!measurement.replicas.empty()) {
    const std::string count = std::to_string(measurement.replicas.size());
    row.probe = one_memory
                    ? "proportional bytes of " + count + " replicas and their parent, smaps_rollup"
                    : "bytes that the device lost to " + count + " replicas together";
  }
  set_process_tolerance(row, tolerances);
  set_outcome(row);
  return row;
}

TimeRow judge_time(const char* name, double predicted, double observed, double tolerance,
                   bool gates) {
  TimeRow row;
  row.name = name;
  row.predicted = predicted;
  row.tolerance = tolerance;
  row.gates = gates;
  if (!std::isfinite(predicted) || !std::isfinite(observed) || observed <= 0) return row;
  row.observed = observed;
  row.error = (predicted - observed) / observed;
  const bool is_rate = row.name.find("per_second") != std::string::npos;
  row.optimistic = is_rate ? row.error > 0 : row.error < 0;
  row.outcome = row.error > tolerance    ? Outcome::kOver
                : row.error < -tolerance ? Outcome::kUnder
                                         : Outcome::kWithin;
  return row;
}

std::vector<TermRow> join_phase(Phase phase, const std::vector<TimeTerm>& predicted,
                                const std::vector<ObservedTerm>& observed) {
  std::vector<TermRow> rows;
  double total = 0;
  for (const ObservedTerm& term : observed) {
    rows.push_back({phase, term.op, {}, term.seconds, 0});
    total += term.seconds.v;
  }
  for (const TimeTerm& term : predicted) {
    const auto found = std::find_if(rows.begin(), rows.end(),
                                    [&](const TermRow& row) { return row.op == term.op; });
    if (found == rows.end())
      rows.push_back({phase, term.op, term.seconds, {}, 0});
    else
      found->predicted = term.seconds;
  }
  for (TermRow& row : rows)
    row.share_of_phase = total > 0 ? (row.predicted.v - row.observed.v) / total : 0;
  return rows;
}

std::vector<TermRow> join_terms(const Performance& predicted, const Timings& observed) {
  std::vector<TermRow> rows;
  if (!observed.prefill_terms.empty())
    rows = join_phase(Phase::kPrefill, predicted.prefill_terms, observed.prefill_terms);
  if (observed.decode_terms.empty()) return rows;
  const auto decode = join_phase(Phase::kDecode, predicted.decode_terms, observed.decode_terms);
  rows.insert(rows.end(), decode.begin(), decode.end());
  return rows;
}

std::vector<TimeRow> judge_times(const Predictions& plan, const Timings& observed,
                                 const Tolerances& t) {
  const Performance& predicted = plan.performance;
  const bool guesses = plan.speculation.has_value();
  const bool gate_tokens = t.gate_times && !guesses;
  std::vector<TimeRow> rows = {
      judge_time("ttft_seconds", predicted.ttft.v, observed.ttft.v, t.prefill, t.gate_times),
      judge_time("tpot_seconds", predicted.tpot.v, observed.tpot.v, t.decode, gate_tokens),
      judge_time("prefill_tokens_per_second", predicted.prefill_tokens_per_second,
                 observed.prefill_tokens_per_second, t.prefill, t.gate_times),
      judge_time("decode_tokens_per_second", predicted.tokens_per_second,
                 observed.decode_tokens_per_second, t.decode, gate_tokens),
  };
  if (guesses) {
    const double step = observed.tpot.v * observed.tokens_a_step;
    rows.insert(rows.begin() + 1,
                judge_time("step_seconds", plan.speculation->step.v, step, t.decode, t.gate_times));
  }
  return rows;
}

std::optional<SpeculationVerdict> judge_guesses(const Plan& plan, const Measurement& measurement) {
  if (!plan.predictions.speculation || !measurement.speculation) return std::nullopt;
  const SpeculationCounts& seen = *measurement.speculation;
  const SpeculationPrediction& predicted = *plan.predictions.speculation;
  SpeculationVerdict out;
  out.assumed_acceptance = plan.decisions.speculation.acceptance;
  out.acceptance = seen.acceptance();
  out.predicted_tokens = predicted.tokens_a_step;
  out.tokens = measurement.timings.tokens_a_step;
  out.by_chance = seen.by_chance;
  out.tpot = measurement.timings.tpot;
  if (seen.tested == 0) return out;
  const double yield = expected_tokens(most_guesses(plan.decisions), out.acceptance);
  out.tpot_given = Seconds{predicted.step.v / yield};
  return out;
}

void score(Verdict& verdict) {
  const auto count = [&](const VerdictRow& row) {
    if (row.outcome == Outcome::kNotMeasured) return;
    if (row.observed > row.predicted) ++verdict.under_predictions;
    if (verdict.worst_row.empty() || magnitude(row.error) > magnitude(verdict.worst_error)) {
      verdict.worst_error = row.error;
      verdict.worst_row = describe(row);
    }
  };
  for (const VerdictRow& row : verdict.rows) {
    count(row);
    auto term = std::find_if(verdict.terms.begin(), verdict.terms.end(),
                             [&](const TermScore& t) { return t.category == row.category; });
    if (term == verdict.terms.end()) {
      verdict.terms.push_back({});
      term = verdict.terms.end() - 1;
      term->category = row.category;
    }
    ++term->rows;
    if (row.outcome == Outcome::kNotMeasured) {
      ++term->not_measured;
      continue;
    }
    term->predicted += row.predicted;
    term->observed += row.observed;
    term->error += row.error;
    if (magnitude(row.error) > magnitude(term->worst)) term->worst = row.error;
  }
  count(verdict.process);
}

void list_row_failure(const VerdictRow& row, std::vector<std::string>& failures) {
  if (!row.gates || row.outcome == Outcome::kWithin) return;
  if (row.outcome == Outcome::kNotMeasured) {
    failures.push_back(describe(row) + ": predicted " + to_text(row.predicted) + ", not measured");
    return;
  }
  const Bytes allowed = row.outcome == Outcome::kOver ? row.tolerance : row.under_tolerance;
  failures.push_back(fmt::format("{}: predicted {} B, observed {} B, {:+d} B; allowed {} B",
                                 describe(row), row.predicted.n, row.observed.n, row.error.n,
                                 allowed.n));
}

/// How often sequences gave their blocks away is a matter of counting: it must be exact.
void list_preemption(const Plan& plan, const Measurement& measurement, Verdict& verdict) {
  if (!plan.predictions.preemption || !measurement.preemption) return;
  const PreemptionCounts &predicted = plan.predictions.preemption->counts,
                         &observed = *measurement.preemption;
  const std::string text = fmt::format(
      "preemption: predicted {} times, {} blocks moved, {} tokens computed again; observed {}, {}, "
      "{}",
      predicted.preempted, predicted.moved.n, predicted.recomputed.n, observed.preempted,
      observed.moved.n, observed.recomputed.n);
  (predicted == observed ? verdict.notes : verdict.failures).push_back(text);
}

/// What of the guesses was kept is the text's business: it does not gate.
void list_speculation(const Plan& plan, const Measurement& measurement, Verdict& verdict) {
  if (!verdict.speculation) return;
  const SpeculationVerdict& judged = *verdict.speculation;
  const SpeculationCounts& seen = *measurement.speculation;
  const SpeculationPrediction& predicted = *plan.predictions.speculation;
  verdict.notes.push_back(fmt::format(
      "speculation: {} of {} guesses kept in {} steps, of {} that were looked at{}; without "
      "guesses a token was predicted to take {}, {:.2f} times as long",
      seen.accepted, seen.asked, seen.steps, seen.tested,
      seen.by_chance ? ", drawn with the assumed acceptance" : "", to_text(predicted.plain_tpot),
      predicted.speedup));
  if (judged.by_chance || !judged.tpot_given) return;
  verdict.notes.push_back(
      fmt::format("TPOT predicted given the observed acceptance of {:.1f} % is {}, that of the "
                  "assumed {:.1f} % "
                  "was {}",
                  100 * judged.acceptance, to_text(*judged.tpot_given),
                  100 * judged.assumed_acceptance, to_text(plan.predictions.performance.tpot)));
}

void list_failures(Verdict& verdict, const Measurement& measurement) {
  std::vector<std::string>& failures = verdict.failures;
  if (!measurement.complete) failures.push_back("the run did not complete");
  bool any_gate = false;
  for (const VerdictRow& row : verdict.rows) {
    any_gate = any_gate || row.gates;
    list_row_failure(row, failures);
  }
  if (!any_gate) failures.push_back("no row that gates was compared");
  list_row_failure(verdict.process, failures);
  for (const TimeRow& row : verdict.times) {
    if (!row.gates || row.outcome == Outcome::kWithin) continue;
    failures.push_back(row.outcome == Outcome::kNotMeasured
                           ? row.name + ": not measured"
                           : fmt::format("{}: predicted {:.4g}, observed {:.4g}, {:+.1f} %; "
                                         "allowed {:.0f} %",
                                         row.name, row.predicted, row.observed, row.error * 100,
                                         row.tolerance * 100));
  }
  for (const RankCapacity& c : measurement.capacity) {
    const Bytes sum = c.free + c.rows + c.unaccounted;
    if (sum == c.capacity) continue;
    failures.push_back(
        fmt::format("rank {}: free {} + rows {} + unaccounted {} B is not the capacity {} B",
                    c.rank, c.free.n, c.rows.n, c.unaccounted.n, c.capacity.n));
  }
}

/// A request that was answered before takes nothing: there is nothing to compare.
bool is_answered(const Measurement& measurement) {
  return measurement.result_cache && measurement.result_cache->hit;
}

void list_notes(Verdict& verdict, const Measurement& measurement) {
  if (is_answered(measurement)) {
    verdict.failures.clear();
    verdict.notes.push_back("answered from the result cache: nothing was run, nothing is measured");
  }
  if (is_dry(measurement)) {
    verdict.notes.push_back(
        "dry backend: the process takes no model memory, so there is no process peak to measure; "
        "it does not gate");
    verdict.notes.push_back(
        "dry backend: seconds come from the device card's cost model on a virtual clock; they "
        "check "
        "the scheduler against the formulas, they are no measurement of a device");
  }
  for (const VerdictRow& row : verdict.rows) {
    if (row.outcome == Outcome::kNotMeasured && !row.gates) {
      verdict.notes.push_back(describe(row) + ": predicted " + to_text(row.predicted) +
                              ", not measured; informative, does not gate");
    }
  }
}

}  // namespace

const char* name_of(Outcome outcome) {
  static constexpr const char* kNames[] = {"within", "over", "under", "not_measured"};
  return kNames[static_cast<int>(outcome)];
}

std::string describe(const VerdictRow& row) {
  return fmt::format("{} {} ({}), rank {} {}", name_of(row.category), row.name, name_of(row.phase),
                     row.rank, name_of(row.tier));
}

bool is_dry(const Measurement& measurement) { return measurement.environment.backend == "dry"; }

Verdict judge(const Plan& plan, const Measurement& measurement, const Tolerances& tolerances) {
  Verdict verdict;
  verdict.rows = join(plan.predictions.ledger, measurement.observed, tolerances);
  verdict.process = judge_process(plan, measurement, tolerances);
  verdict.time_terms = join_terms(plan.predictions.performance, measurement.timings);
  verdict.times = judge_times(plan.predictions, measurement.timings, tolerances);
  verdict.speculation = judge_guesses(plan, measurement);
  score(verdict);
  list_failures(verdict, measurement);
  list_preemption(plan, measurement, verdict);
  list_speculation(plan, measurement, verdict);
  list_notes(verdict, measurement);
  verdict.within = verdict.failures.empty();
  return verdict;
}

}  // namespace vramplan
