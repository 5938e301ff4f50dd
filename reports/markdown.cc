#include "reports/markdown.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/escape.h"
#include "reports/headline.h"
#include "reports/rank_groups.h"

namespace vramplan {
namespace {

// A comment holds 65,536 characters; rows beyond the limit are counted, not printed.
constexpr std::size_t kMostCharacters = 60'000;
constexpr std::size_t kWorstRows = 8;

std::string md(const std::string& text) { return markdown_text(text); }

std::string sign(bool good) { return good ? "\u2705" : "\u274c"; }

/// The first rank of every group, with the group's label: equal ranks are shown once.
std::vector<std::pair<int, std::string>> labels(const std::vector<RankGroup>& groups) {
  std::vector<std::pair<int, std::string>> out;
  for (const RankGroup& group : groups) out.emplace_back(group.first(), group.label());
  return out;
}

const std::string* label_of(const std::vector<std::pair<int, std::string>>& labels, int rank) {
  for (const auto& [first, label] : labels) {
    if (first == rank) return &label;
  }
  return nullptr;
}

std::string row_line(const VerdictRow& row, const std::string& label) {
  const bool measured = row.outcome != Outcome::kNotMeasured;
  const bool good = row.outcome == Outcome::kWithin;
  return fmt::format(
      "| {} | {} | {} | {} | {} | {} | {} | {} {} |\n", label, name_of(row.category), md(row.name),
      name_of(row.phase), grouped(row.predicted.n), measured ? grouped(row.observed.n) : "\u2013",
      measured ? grouped_signed(row.error.n) + " (" + error_text(row) + ")" : "\u2013",
      good        ? sign(true)
      : row.gates ? sign(false)
                  : "\u2796",
      outcome_text(row.outcome, row.gates));
}

constexpr const char* kRowHead =
    "| rank | category | name | phase | predicted B | observed B | error | outcome |\n"
    "|---|---|---|---|--:|--:|--:|---|\n";

std::string times_table(const RunRecord& run) {
  std::string out = "| time | predicted | observed | error | outcome |\n|---|--:|--:|--:|---|\n";
  for (const TimeRow& row : run.verdict.times) {
    const bool measured = row.outcome != Outcome::kNotMeasured;
    out += fmt::format("| {} | {} | {} | {} | {} |\n", time_title(row.name),
                       time_value(row.name, row.predicted),
                       measured ? time_value(row.name, row.observed) : "\u2013",
                       measured ? fmt::format("{:+.1f} %", 100 * row.error) : "\u2013",
                       outcome_text(row.outcome, row.gates));
  }
  return out;
}

std::string assumptions_table(const Plan& plan) {
  if (plan.assumptions.empty()) return "";
  std::string out = "\n| assumed | value | change with |\n|---|---|---|\n";
  for (const Assumption& a : plan.assumptions) {
    out += fmt::format("| {} | {} | {} |\n", md(a.what), md(a.value), md(a.flag));
  }
  return out;
}

std::string run_section(const RunRecord& run) {
  const Verdict& verdict = run.verdict;
  const auto groups = labels(rank_groups(run.plan, verdict));
  std::string out =
      fmt::format("### {} {}\n\n{}  \n{}\n\n", sign(verdict.within), verify_word(verdict),
                  md(verify_headline(run)), md(score_line(verdict)));
  for (const std::string& failure : verdict.failures) {
    if (out.size() < kMostCharacters / 2) out += "- " + md(failure) + "\n";
  }
  std::vector<const VerdictRow*> rows;
  for (const VerdictRow* row : worst_first(verdict)) {
    if (label_of(groups, row->rank) != nullptr) rows.push_back(row);
  }
  const std::size_t shown = std::min(kWorstRows, rows.size());
  out += std::string("\n") + kRowHead;
  for (std::size_t i = 0; i < shown; ++i)
    out += row_line(*rows[i], *label_of(groups, rows[i]->rank));
  out += "\n" + times_table(run);
  out += fmt::format("\n<details><summary>{} more rows, notes, machine, assumptions</summary>\n\n",
                     rows.size() - shown);
  if (shown < rows.size()) out += kRowHead;
  for (std::size_t i = shown; i < rows.size(); ++i) {
    if (out.size() > kMostCharacters) {
      out += fmt::format("\n{} more rows are in the JSON\n", rows.size() - i);
      break;
    }
    out += row_line(*rows[i], *label_of(groups, rows[i]->rank));
  }
  out += "\n";
  for (const std::string& note : verdict.notes) out += "- " + md(note) + "\n";
  const Environment& e = run.measurement.environment;
  out += fmt::format("- {}, {}, {} threads, {}, commit {}, {}\n", md(e.machine), md(e.cpu),
                     e.threads, md(e.kernel), md(e.commit), md(e.time_utc));
  out += "- " + md(configuration(run.plan)) + "\n";
  return out + assumptions_table(run.plan) + "\n</details>\n";
}

}  // namespace

std::string plan_markdown(const Plan& plan) {
  const Predictions& p = plan.predictions;
  std::string out = fmt::format("### {} {}\n\n{}  \n{}\n\n", sign(p.fits), plan_word(plan),
                                md(plan_headline(plan)), md(configuration(plan)));
  if (!p.binding_constraint.empty()) {
    out += "**Binding constraint:** " + md(p.binding_constraint) + "\n\n";
  }
  for (const std::string& line : p.advice) out += "- " + md(line) + "\n";
  const Performance& t = p.performance;
  out += fmt::format("\nPredicted: TTFT {}, TPOT {}, {:.1f} tokens/s, limited by {}\n",
                     to_text(t.ttft), to_text(t.tpot), t.tokens_per_second, md(t.limited_by));
  out +=
      "\n<details><summary>ledger and assumptions</summary>\n\n"
      "| rank | tier | category | name | phase | bytes | formula "
      "|\n|---|---|---|---|---|--:|---|\n";
  const auto groups = labels(rank_groups(plan));
  std::size_t left_out = 0;
  for (const LedgerRow& row : p.ledger.rows()) {
    const std::string* label = label_of(groups, row.rank);
    if (label == nullptr) continue;
    if (out.size() > kMostCharacters) {
      ++left_out;
      continue;
    }
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", *label, name_of(row.tier),
                       name_of(row.category), md(row.name), name_of(row.phase),
                       grouped(row.bytes.n), md(row.formula));
  }
  if (left_out > 0) out += fmt::format("\n{} more rows are in the JSON\n", left_out);
  return out + assumptions_table(plan) + "\n</details>\n";
}

std::string run_markdown(const std::vector<RunRecord>& runs) {
  std::vector<const RunRecord*> order;
  for (const RunRecord& run : runs) order.push_back(&run);
  std::stable_sort(order.begin(), order.end(), [](const RunRecord* a, const RunRecord* b) {
    return !a->verdict.within && b->verdict.within;
  });
  std::string out;
  std::size_t left_out = 0;
  for (const RunRecord* run : order) {
    const std::string section = run_section(*run);
    if (!out.empty() && out.size() + section.size() > kMostCharacters) {
      ++left_out;
      continue;
    }
    out += (out.empty() ? "" : "\n") + section;
  }
  if (left_out > 0) out += fmt::format("\n{} more runs do not fit a comment\n", left_out);
  return out;
}

}  // namespace vramplan
