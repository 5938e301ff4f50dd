#include "reports/baseline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "planner/kv_mix.h"
#include "planner/weight_mix.h"

namespace vramplan {
namespace {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Interquartile range over the median, scaled to a standard deviation of normal noise.
double relative_deviation(std::vector<double> values) {
  const double middle = median(values);
  if (middle <= 0) return 0;
  std::sort(values.begin(), values.end());
  const double range = values[values.size() * 3 / 4] - values[values.size() / 4];
  return range / 1.349 / middle;
}

double change_of(double before, double now) { return before != 0 ? (now - before) / before : 0; }

void require_same(const char* field, const std::string& before, const std::string& now) {
  if (before == now) return;
  throw Error(ErrorCode::kUsage, fmt::format("the baseline decided {} {}, the run {}", field,
                                             printable(before), printable(now)))
      .at("--baseline", field)
      .help("compare runs of the same decisions, or record a new baseline");
}

void require_same_decisions(const RunRecord& before, const RunRecord& now) {
  const auto listed = [](const RunRecord& run) {
    const Decisions& d = run.plan.decisions;
    return std::vector<std::pair<const char*, std::string>>{
        {"model card", fmt::format("{:016x}", d.card_hash)},
        {"device", d.device},
        {"device count", std::to_string(d.device_count)},
        {"sharding", fmt::format("tp {} pp {} cp {} ep {}", d.sharding.tp, d.sharding.pp,
                                 d.sharding.cp, d.sharding.ep)},
        {"weights", d.weights ? info(*d.weights).name : "as stored"},
        {"weight formats of layers", text_of(d.weight_layers)},
        {"activations", info(d.activations).name},
        {"KV format", name_of(kv_encoding(d))},
        {"KV formats of layers", text_of(d.kv_layers)},
        {"block", std::to_string(d.block.n)},
        {"context", std::to_string(d.context.n)},
        {"output", std::to_string(d.output.n)},
        {"batch", std::to_string(d.batch)},
        {"prefill chunk", std::to_string(d.prefill_chunk.n)},
        {"attention", name_of(d.attention)},
        {"linear inputs", info(d.linear_inputs).name},
        {"backend", run.measurement.environment.backend},
    };
  };
  const auto a = listed(before), b = listed(now);
  for (std::size_t i = 0; i < a.size(); ++i) require_same(a[i].first, a[i].second, b[i].second);
}

std::string commits(const RunRecord& before, const RunRecord& now) {
  const std::string &a = before.measurement.environment.commit,
                    &b = now.measurement.environment.commit;
  return a == b ? "same commit " + a : "commit " + a + " became " + b;
}

Finding byte_finding(std::string what, Bytes before, Bytes now, std::string cause) {
  Finding finding;
  finding.what = std::move(what);
  finding.cause = std::move(cause);
  finding.is_bytes = true;
  finding.before = static_cast<double>(before.n);
  finding.now = static_cast<double>(now.n);
  finding.change = change_of(finding.before, finding.now);
  finding.threshold_from = "exact";
  finding.regression = now > before;
  return finding;
}

using Key = std::tuple<int, TierKind, Category, std::string, Phase>;
Key key_of(const VerdictRow& row) {
  return {row.rank, row.tier, row.category, row.name, row.phase};
}

/// Rows whose bytes no clock and no allocator decides.
bool is_deterministic(const VerdictRow& row) { return row.gates; }

void compare_row(const VerdictRow& before, const VerdictRow& now, const std::string& commit,
                 const NoiseBand& band, std::vector<Finding>& findings) {
  if (before.predicted != now.predicted) {
    const bool formula = before.formula != now.formula;
    findings.push_back(byte_finding(
        describe(now) + ": predicted bytes", before.predicted, now.predicted,
        formula ? "the formula was '" + before.formula + "' and is '" + now.formula + "'"
                : commit));
  }
  const bool was = before.outcome != Outcome::kNotMeasured;
  const bool is = now.outcome != Outcome::kNotMeasured;
  if (was != is) {
    Finding finding =
        byte_finding(describe(now) + (is ? ": measured now" : ": not measured any more"),
                     before.observed, now.observed, commit);
    finding.regression = !is;
    findings.push_back(finding);
    return;
  }
  if (!was || before.observed == now.observed) return;
  Finding finding =
      byte_finding(describe(now) + ": observed bytes", before.observed, now.observed, commit);
  if (!is_deterministic(now)) {
    finding.threshold =
        std::max(band.process * finding.before, static_cast<double>(band.process_floor.n));
    finding.threshold_from = "NoiseBand.process";
    if (std::fabs(finding.now - finding.before) <= finding.threshold) return;
  }
  findings.push_back(finding);
}

void compare_rows(const RunRecord& before, const RunRecord& now, const NoiseBand& band,
                  std::vector<Finding>& findings) {
  const std::string commit = commits(before, now);
  std::map<Key, const VerdictRow*> old_rows;
  for (const VerdictRow& row : before.verdict.rows) old_rows[key_of(row)] = &row;
  for (const VerdictRow& row : now.verdict.rows) {
    const auto found = old_rows.find(key_of(row));
    if (found == old_rows.end()) {
      findings.push_back(byte_finding(describe(row) + ": new row", {},
                                      std::max(row.predicted, row.observed), commit));
      continue;
    }
    compare_row(*found->second, row, commit, band, findings);
    old_rows.erase(found);
  }
  for (const auto& [key, row] : old_rows) {
    Finding finding = byte_finding(describe(*row) + ": no such row any more",
                                   std::max(row->predicted, row->observed), {}, commit);
    finding.regression = row->gates;  // a term that is no longer accounted for is no gain
    findings.push_back(finding);
  }
  VerdictRow process = now.verdict.process;
  process.gates = false;                                 // its bytes are the allocator's
  process.predicted = before.verdict.process.predicted;  // a sum of rows compared above
  if (now.verdict.process.gates) {
    compare_row(before.verdict.process, process, commit, band, findings);
  }
}

void compare_time(const char* what, double before, double now, double threshold,
                  const char* threshold_from, bool less_is_better, Comparison& out) {
  if (before <= 0 || now <= 0) {
    out.notes.push_back(std::string(what) + ": not measured in both runs");
    return;
  }
  Finding finding;
  finding.what = what;
  finding.before = before;
  finding.now = now;
  finding.change = change_of(before, now);
  finding.threshold = threshold;
  finding.threshold_from = threshold_from;
  finding.regression = less_is_better ? finding.change > 0 : finding.change < 0;
  if (std::fabs(finding.change) > threshold) out.findings.push_back(finding);
}

void compare_times(const RunRecord& before, const RunRecord& now, const NoiseBand& band,
                   Comparison& out) {
  const Environment &a = before.measurement.environment, &b = now.measurement.environment;
  const bool dry = is_dry(now.measurement);
  if (!dry && (a.machine != b.machine || a.cpu != b.cpu || a.threads != b.threads)) {
    out.notes.push_back(
        fmt::format("times are not compared: {} ({}, {} threads) is not {} ({}, {})", b.machine,
                    b.cpu, b.threads, a.machine, a.cpu, a.threads));
    return;
  }
  constexpr double kVirtual = 1e-9;  // a virtual clock has no noise, only rounding
  const Timings &old_times = before.measurement.timings, &new_times = now.measurement.timings;
  const auto steps = [](const Timings& t) {
    return t.decode_step_seconds.empty() ? std::vector<double>{t.tpot.v} : t.decode_step_seconds;
  };
  const double noise =
      std::max(relative_deviation(steps(old_times)), relative_deviation(steps(new_times)));
  const double decode = dry ? kVirtual : std::max(band.least, band.deviations * noise);
  const double single = dry ? kVirtual : band.single;
  compare_time("decode step, median seconds", median(steps(old_times)), median(steps(new_times)),
               decode, "NoiseBand.least and NoiseBand.deviations", true, out);
  compare_time("TTFT, seconds", old_times.ttft.v, new_times.ttft.v, single, "NoiseBand.single",
               true, out);
  compare_time("prefill, tokens/s", old_times.prefill_tokens_per_second,
               new_times.prefill_tokens_per_second, single, "NoiseBand.single", false, out);
}

}  // namespace

int Comparison::regressions() const {
  return static_cast<int>(std::count_if(findings.begin(), findings.end(),
                                        [](const Finding& f) { return f.regression; }));
}

Comparison compare(const RunRecord& before, const RunRecord& now, const NoiseBand& band) {
  require_same_decisions(before, now);
  Comparison out;
  out.name = now.name;
  compare_rows(before, now, band, out.findings);
  if (before.verdict.within && !now.verdict.within) {
    Finding finding;
    finding.what = "verdict: was within tolerance and is not any more";
    finding.cause = now.verdict.failures.empty() ? "" : now.verdict.failures.front();
    finding.threshold_from = "exact";
    finding.regression = true;
    out.findings.push_back(finding);
  }
  compare_times(before, now, band, out);
  std::stable_sort(out.findings.begin(), out.findings.end(),
                   [](const Finding& a, const Finding& b) {
                     if (a.regression != b.regression) return a.regression;
                     return std::fabs(a.change) > std::fabs(b.change);
                   });
  return out;
}

int exit_code_of(const Comparison& comparison) {
  return comparison.regressions() > 0 ? exit_code(ErrorCode::kRegression) : 0;
}

}  // namespace vramplan
