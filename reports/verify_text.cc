#include "reports/verify_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/escape.h"
#include "reports/headline.h"
#include "reports/plan_text.h"
#include "reports/rank_groups.h"

namespace vramplan {
namespace {

std::string safe(const std::string& text, const TextOptions& o) {
  return terminal_text(text, o.ascii);
}

std::string heading(const std::string& text, const TextOptions& o) {
  return "\n" + ink(text, Ink::kBold, o) + "\n";
}

std::string list(const char* title, const std::vector<std::string>& lines, Ink color,
                 const TextOptions& o) {
  if (lines.empty()) return "";
  std::string out = "\n" + ink(title, color, o) + "\n";
  for (const std::string& line : lines) out += "  - " + wrapped(safe(line, o), 4, o) + "\n";
  return out;
}

Ink ink_of(Outcome outcome, bool gates) {
  if (outcome == Outcome::kWithin) return Ink::kGood;
  return gates ? Ink::kBad : Ink::kWarn;
}

std::vector<TextTable::Column> row_columns() {
  return {{"tier", false, 3},  {"category"},       {"name"},           {"phase", false, 1},
          {"predicted", true}, {"observed", true}, {"error", true, 2}, {"", true, 4},
          {"outcome"},         {"probe", false, 5}};
}

void add_row(TextTable& table, const VerdictRow& row, const TextOptions& o) {
  const bool measured = row.outcome != Outcome::kNotMeasured;
  table.add({name_of(row.tier), name_of(row.category), safe(row.name, o), name_of(row.phase),
             grouped(row.predicted.n), measured ? grouped(row.observed.n) : "-",
             measured ? grouped_signed(row.error.n) : "-", measured ? error_text(row) : "",
             outcome_text(row.outcome, row.gates), safe(row.probe, o)},
            ink_of(row.outcome, row.gates));
}

std::string rows_text(const RunRecord& run, const TextOptions& o) {
  std::string out;
  for (const RankGroup& group : rank_groups(run.plan, run.verdict)) {
    TextTable table(row_columns(), o);
    for (const VerdictRow& row : run.verdict.rows) {
      if (row.rank == group.first()) add_row(table, row, o);
    }
    if (group.first() == 0) {
      table.add_rule();
      add_row(table, run.verdict.process, o);
    }
    out += heading(group.label() + ", bytes", o) + table.render();
  }
  return out;
}

std::string capacity_text(const Measurement& m, const TextOptions& o) {
  if (m.capacity.empty()) return "";
  TextTable table({{""},
                   {"capacity", true},
                   {"= free", true},
                   {"+ rows", true},
                   {"+ unaccounted", true},
                   {"", true, 1}},
                  o);
  for (const RankGroup& group : rank_groups(m.capacity)) {
    const auto c = std::find_if(m.capacity.begin(), m.capacity.end(),
                                [&](const RankCapacity& r) { return r.rank == group.first(); });
    table.add({group.label(), grouped(c->capacity.n), grouped(c->free.n), grouped(c->rows.n),
               grouped_signed(c->unaccounted.n), signed_text(c->unaccounted)});
  }
  return heading("capacity, bytes", o) + table.render();
}

std::string times_text(const RunRecord& run, const TextOptions& o) {
  TextTable table({{"time"},
                   {"predicted", true},
                   {"observed", true},
                   {"error", true},
                   {"allowed", true, 2},
                   {"outcome", false, 1}},
                  o);
  for (const TimeRow& row : run.verdict.times) {
    const bool measured = row.outcome != Outcome::kNotMeasured;
    table.add({time_title(row.name), time_value(row.name, row.predicted),
               measured ? time_value(row.name, row.observed) : "-",
               measured ? fmt::format("{:+.1f} %", 100 * row.error) : "-",
               fmt::format("{:.0f} %", 100 * row.tolerance),
               outcome_text(row.outcome, row.gates) + (row.optimistic ? ", optimistic" : "")},
              ink_of(row.outcome, row.gates));
  }
  const std::int64_t rounds = run.measurement.timings.rounds;
  std::string title = "times";
  if (rounds > 1) title += fmt::format(", medians of {} rounds", rounds);
  if (is_dry(run.measurement)) title = "times (virtual clock, not a measurement)";
  return heading(title, o) + table.render();
}

/// What of the guesses was kept, and what TPOT follows from that.
std::string speculation_text(const Verdict& verdict, const TextOptions& o) {
  if (!verdict.speculation) return "";
  const SpeculationVerdict& s = *verdict.speculation;
  TextTable table({{"guesses"}, {"assumed", true}, {s.by_chance ? "drawn" : "observed", true}}, o);
  const auto percent = [](double share) { return fmt::format("{:.1f} %", 100 * share); };
  table.add({"kept, of those looked at", percent(s.assumed_acceptance),
             s.tpot_given ? percent(s.acceptance) : "-"});
  table.add({"tokens a step", fmt::format("{:.2f}", s.predicted_tokens),
             fmt::format("{:.2f}", s.tokens)});
  std::string out = heading("speculative decoding", o) + table.render();
  if (s.by_chance) {
    return out + "  nothing was computed: guesses are kept as often as the plan assumes\n";
  }
  if (!s.tpot_given || s.tpot.v <= 0) return out;
  return out + fmt::format(
                   "  TPOT predicted given the observed acceptance {}, observed {}, {:+.1f} %\n",
                   to_text(*s.tpot_given), to_text(s.tpot), 100 * (s.tpot_given->v / s.tpot.v - 1));
}

/// How fast memory was in this run, beside what the plan counted on.
std::string speed_text(const Timings& t) {
  if (t.memory_bytes_per_s <= 0 || t.card_memory_bytes_per_s <= 0) return "";
  return fmt::format(
      "  memory was read at {:.1f} GB/s in this run, the card says {:.1f} ({:.0f} %)\n",
      t.memory_bytes_per_s * 1e-9, t.card_memory_bytes_per_s * 1e-9,
      100 * t.memory_bytes_per_s / t.card_memory_bytes_per_s);
}

/// Predicted and observed seconds of each operation, where the run could time them.
std::string terms_text(const RunRecord& run, const TextOptions& o) {
  if (run.verdict.time_terms.empty()) return "";
  TextTable table({{"phase"},
                   {"operation"},
                   {"predicted", true},
                   {"observed", true},
                   {"error", true},
                   {"of the phase", true, 2}},
                  o);
  for (const TermRow& row : run.verdict.time_terms) {
    table.add({name_of(row.phase), safe(row.op, o), to_text(row.predicted), to_text(row.observed),
               row.observed.v > 0 ? fmt::format("{:+.1f} %", 100 * row.error()) : "-",
               fmt::format("{:+.1f} %", 100 * row.share_of_phase)});
  }
  return heading("time by operation", o) + table.render();
}

/// What each process over the one copy of the weights held.
std::string replicas_text(const RunRecord& run, const TextOptions& o) {
  const Measurement& m = run.measurement;
  if (m.replicas.empty()) return "";
  TextTable table({{"replica"},
                   {"resident", true, 1},
                   {"proportional", true},
                   {"own", true},
                   {"TTFT", true},
                   {"TPOT", true},
                   {"output", false, 2}},
                  o);
  Bytes shared, alone;
  for (std::size_t i = 0; i < m.replicas.size(); ++i) {
    const ReplicaMeasurement& r = m.replicas[i];
    shared += r.proportional;
    alone += r.resident;
    table.add({std::to_string(i), grouped(r.resident.n), grouped(r.proportional.n),
               grouped(r.own.n), to_text(r.ttft), to_text(r.tpot),
               r.same_output ? "as the first" : "another"});
  }
  if (shared.n == 0) {  // of a GPU
    return heading("replicas over one copy of the weights, bytes", o) + table.render() +
           "  own: what the driver says each holds; the first has the weights\n";
  }
  return heading("replicas over one copy of the weights, bytes", o) + table.render() +
         fmt::format("  together {}, with {} of the parent; copies of their own would be {}\n",
                     to_text(shared), to_text(m.parent_proportional), to_text(alone));
}

std::string scoring_text(const Verdict& verdict, const TextOptions& o) {
  TextTable table({{"term"},
                   {"rows", true},
                   {"not measured", true, 1},
                   {"predicted", true},
                   {"observed", true},
                   {"error", true},
                   {"worst row", true, 2}},
                  o);
  for (const TermScore& term : verdict.terms) {
    table.add({name_of(term.category), std::to_string(term.rows), std::to_string(term.not_measured),
               grouped(term.predicted.n), grouped(term.observed.n), grouped_signed(term.error.n),
               grouped_signed(term.worst.n)});
  }
  return heading("scoring, bytes of the measured rows", o) + table.render();
}

std::string machine_text(const Environment& e, const TextOptions& o) {
  return heading("machine", o) + "  " +
         wrapped(safe(fmt::format("{}, {}, {} threads, {}, {} backend, commit {}, {}", e.machine,
                                  e.cpu, e.threads, e.kernel, e.backend, e.commit, e.time_utc),
                      o),
                 2, o) +
         "\n";
}

}  // namespace

std::string verify_text(const RunRecord& run, const TextOptions& o) {
  const Verdict& verdict = run.verdict;
  std::string out = verdict_line(verdict.within, verify_word(verdict), verify_headline(run), o);
  out += "  " + wrapped(safe(score_line(verdict), o), 2, o) + "\n";
  out += "  " + wrapped(safe(configuration(run.plan), o), 2, o) + "\n";
  out += list("out of tolerance", verdict.failures, Ink::kBad, o);
  out += rows_text(run, o) + replicas_text(run, o) + capacity_text(run.measurement, o) +
         times_text(run, o) + speculation_text(verdict, o) + speed_text(run.measurement.timings) +
         terms_text(run, o) + scoring_text(verdict, o);
  out += list("notes", verdict.notes, Ink::kBold, o);
  out += machine_text(run.measurement.environment, o) + assumptions_text(run.plan, o);
  return out;
}

}  // namespace vramplan
