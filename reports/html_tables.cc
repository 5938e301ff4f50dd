#include "reports/html_tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/charts.h"
#include "reports/escape.h"
#include "reports/headline.h"
#include "reports/svg.h"

namespace vramplan {
namespace {

std::string outcome_cell(Outcome outcome, bool gates) {
  const char* sign = outcome == Outcome::kWithin ? "\u2713" : gates ? "\u2717" : "\u2013";
  const char* color = outcome == Outcome::kWithin ? "good" : gates ? "bad" : "warn";
  return text_cell(std::string(sign) + " " + outcome_text(outcome, gates), color);
}

std::string byte_cell(Bytes bytes) {
  return number_cell(grouped(bytes.n), static_cast<double>(bytes.n));
}

std::string missing_cell() { return "<td class=\"n dim\" data-v=\"\">\u2013</td>"; }

std::string verdict_line(const VerdictRow& row, const std::string& where, std::size_t ranks) {
  const bool measured = row.outcome != Outcome::kNotMeasured;
  std::string out = fmt::format("<tr data-ranks=\"{}\">", ranks);
  out += text_cell(where) + text_cell(name_of(row.category)) + text_cell(row.name) +
         text_cell(name_of(row.phase)) + byte_cell(row.predicted);
  if (measured) {
    out += byte_cell(row.observed) +
           number_cell(grouped_signed(row.error.n), static_cast<double>(row.error.n)) +
           number_cell(error_text(row), share(row.error, row.observed));
  } else {
    out += missing_cell() + missing_cell() + missing_cell();
  }
  return out + outcome_cell(row.outcome, row.gates) + "</tr>\n";
}

std::string definition(const std::string& term, const std::string& value) {
  return "<dt>" + html_text(term) + "</dt><dd>" + html_text(value) + "</dd>\n";
}

}  // namespace

std::string html_card(const std::string& heading, const std::string& body) {
  if (body.empty()) return "";
  return "<div class=\"card\"><h3>" + html_text(heading) + "</h3>\n" + body + "</div>\n";
}

std::string html_list(const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string out = "<ul>\n";
  for (const std::string& line : lines) out += "<li>" + html_text(line) + "</li>\n";
  return out + "</ul>\n";
}

std::string number_cell(const std::string& shown, double value) {
  return fmt::format("<td class=\"n\" data-v=\"{:.17g}\">{}</td>", value, html_text(shown));
}

std::string text_cell(const std::string& text, const std::string& class_name) {
  if (class_name.empty()) return "<td>" + html_text(text) + "</td>";
  return "<td class=\"" + html_text(class_name) + "\">" + html_text(text) + "</td>";
}

std::string html_table(const std::vector<HtmlColumn>& columns, const std::string& rows,
                       const std::string& class_name) {
  std::string out =
      "<div class=\"scroll\"><table class=\"" + html_text(class_name) + "\"><thead><tr>";
  for (const HtmlColumn& column : columns) {
    out += fmt::format("<th scope=\"col\"{}{}>{}</th>", column.number ? " class=\"n\"" : "",
                       column.sortable ? " aria-sort=\"none\"" : "", html_text(column.title));
  }
  return out + "</tr></thead><tbody>\n" + rows + "</tbody></table></div>\n";
}

std::string ledger_table(const Plan& plan, const std::vector<RankGroup>& groups) {
  std::string rows;
  for (const RankGroup& group : groups) {
    for (const LedgerRow& row : plan.predictions.ledger.rows()) {
      if (row.rank != group.first()) continue;
      rows += fmt::format("<tr data-ranks=\"{}\">", group.ranks.size());
      rows += text_cell(group.label() + " " + name_of(row.tier)) +
              text_cell(name_of(row.category)) + text_cell(row.name) +
              text_cell(name_of(row.phase)) + byte_cell(row.bytes) +
              text_cell(to_text(row.bytes), "n dim") + text_cell(row.formula, "why") + "</tr>\n";
    }
  }
  return html_table({{"where"},
                     {"what"},
                     {"name"},
                     {"phase"},
                     {"bytes", true},
                     {"", true, false},
                     {"formula", false, false}},
                    rows, "rows");
}

std::string rows_table(const RunRecord& run, const std::vector<RankGroup>& groups) {
  std::string rows;
  for (const RankGroup& group : groups) {
    for (const VerdictRow& row : run.verdict.rows) {
      if (row.rank != group.first()) continue;
      rows += verdict_line(row, group.label() + " " + name_of(row.tier), group.ranks.size());
    }
  }
  rows += verdict_line(run.verdict.process, "rank 0 process", 1);
  return html_table({{"where"},
                     {"what"},
                     {"name"},
                     {"phase"},
                     {"predicted B", true},
                     {"observed B", true},
                     {"error B", true},
                     {"error", true},
                     {"outcome"}},
                    rows, "rows");
}

std::string reasons_table(const RunRecord& run, const std::vector<RankGroup>& groups) {
  std::string rows;
  const auto add = [&](const VerdictRow& row, const std::string& where) {
    rows += "<tr>" + text_cell(where) + text_cell(name_of(row.category)) + text_cell(row.name) +
            text_cell(name_of(row.phase)) + text_cell(row.formula, "why") +
            text_cell(row.probe.empty() ? "not measured" : row.probe, "why") + "</tr>\n";
  };
  for (const RankGroup& group : groups) {
    for (const VerdictRow& row : run.verdict.rows) {
      if (row.rank == group.first()) add(row, group.label() + " " + name_of(row.tier));
    }
  }
  add(run.verdict.process, "rank 0 process");
  return html_table({{"where"},
                     {"what"},
                     {"name"},
                     {"phase"},
                     {"formula of the prediction", false, false},
                     {"probe of the observation", false, false}},
                    rows, "reasons");
}

std::string capacity_table(const Measurement& measurement) {
  std::string rows;
  for (const RankGroup& group : rank_groups(measurement.capacity)) {
    const auto c = std::find_if(measurement.capacity.begin(), measurement.capacity.end(),
                                [&](const RankCapacity& r) { return r.rank == group.first(); });
    rows += "<tr>" + text_cell(group.label()) + byte_cell(c->capacity) + byte_cell(c->free) +
            byte_cell(c->rows) +
            number_cell(grouped_signed(c->unaccounted.n), static_cast<double>(c->unaccounted.n)) +
            "</tr>\n";
  }
  if (rows.empty()) return "";
  return html_table({{"", false, false},
                     {"capacity B", true, false},
                     {"= free", true, false},
                     {"+ rows", true, false},
                     {"+ unaccounted", true, false}},
                    rows, "capacity");
}

std::string scoring_table(const Verdict& verdict) {
  std::string rows;
  for (const TermScore& term : verdict.terms) {
    const auto error = [](Bytes bytes) {
      return number_cell(grouped_signed(bytes.n), static_cast<double>(bytes.n));
    };
    rows += "<tr>" + text_cell(name_of(term.category)) +
            number_cell(std::to_string(term.rows), term.rows) +
            number_cell(std::to_string(term.not_measured), term.not_measured) + error(term.error) +
            error(term.worst) + "</tr>\n";
  }
  return html_table({{"term", false, false},
                     {"rows", true, false},
                     {"not measured", true, false},
                     {"signed error B", true, false},
                     {"worst row B", true, false}},
                    rows, "scoring");
}

std::string times_table(const RunRecord& run) {
  std::string rows;
  for (const TimeRow& row : run.verdict.times) {
    const bool measured = row.outcome != Outcome::kNotMeasured;
    rows += "<tr>" + text_cell(time_title(row.name)) +
            number_cell(time_value(row.name, row.predicted), row.predicted) +
            (measured ? number_cell(time_value(row.name, row.observed), row.observed) +
                            number_cell(fmt::format("{:+.1f} %", 100 * row.error), row.error)
                      : missing_cell() + missing_cell()) +
            number_cell(fmt::format("{:.0f} %", 100 * row.tolerance), row.tolerance) +
            outcome_cell(row.outcome, row.gates) + "</tr>\n";
  }
  return html_table({{"", false, false},
                     {"predicted", true, false},
                     {"observed", true, false},
                     {"error", true, false},
                     {"allowed", true, false},
                     {"outcome", false, false}},
                    rows, "times");
}

std::string time_terms_table(const Verdict& verdict) {
  std::string rows;
  for (const TermRow& row : verdict.time_terms) {
    rows += "<tr>" + text_cell(name_of(row.phase)) + text_cell(row.op) +
            number_cell(to_text(row.predicted), row.predicted.v) +
            number_cell(to_text(row.observed), row.observed.v) +
            number_cell(fmt::format("{:+.1f} %", 100 * row.error()), row.error()) +
            number_cell(fmt::format("{:+.1f} %", 100 * row.share_of_phase), row.share_of_phase) +
            "</tr>\n";
  }
  if (rows.empty()) return "";
  return html_table({{"phase"},
                     {"operation"},
                     {"predicted", true},
                     {"observed", true},
                     {"error", true},
                     {"of the phase", true}},
                    rows, "terms");
}

std::string time_terms_table(const Performance& performance) {
  std::string rows;
  const auto add = [&](const char* phase, const std::vector<TimeTerm>& terms) {
    double sum = 0;
    for (const TimeTerm& term : terms) sum += term.seconds.v;
    for (const TimeTerm& term : terms) {
      const double part = sum > 0 ? term.seconds.v / sum : 0;
      rows += "<tr>" + text_cell(phase) + text_cell(term.op) +
              number_cell(to_text(term.seconds), term.seconds.v) +
              number_cell(fmt::format("{:.1f} %", 100 * part), part) + "<td class=\"bar\">" +
              svg_bar(part, "term") + "</td>" + text_cell(term.limited_by) + "</tr>\n";
    }
  };
  add("prefill", performance.prefill_terms);
  add("decode step", performance.decode_terms);
  if (rows.empty()) return "";
  return html_table({{"phase"},
                     {"operation"},
                     {"predicted", true},
                     {"share", true},
                     {"", false, false},
                     {"limited by"}},
                    rows, "terms");
}

std::string limits_list(const Predictions& p) {
  return "<dl>" +
         definition("longest context",
                    grouped(p.capacity.max_context.n) + " tokens at this batch") +
         definition("most sequences", grouped(p.capacity.max_sequences) + " at this context") +
         definition("KV tokens in the memory left", grouped(p.capacity.kv_tokens.n)) +
         definition("KV equals weights at", grouped(p.capacity.kv_equals_weights.n) + " tokens") +
         definition("weights", to_text(p.totals.weight_bytes) + ", whole model") +
         definition("KV per token", grouped(p.totals.kv_bytes_per_token.n) + " B, whole model") +
         definition("parameters",
                    fmt::format("{}, {} active for a token", grouped(p.totals.parameters.n),
                                grouped(p.totals.active_parameters.n))) +
         "</dl>\n";
}

std::string assumptions_table(const Plan& plan) {
  std::string rows;
  for (const Assumption& a : plan.assumptions) {
    rows += "<tr>" + text_cell(a.what) + text_cell(a.value) + text_cell(a.flag) + "</tr>\n";
  }
  if (rows.empty()) return "";
  return html_table(
      {{"assumed", false, false}, {"value", false, false}, {"change with", false, false}}, rows,
      "assumptions");
}

std::string machine_list(const Environment& e) {
  return "<dl>" + definition("machine", e.machine) + definition("processor", e.cpu) +
         definition("threads", std::to_string(e.threads)) + definition("kernel", e.kernel) +
         definition("backend", e.backend) + definition("commit", e.commit) +
         definition("time", e.time_utc) + "</dl>\n";
}

}  // namespace vramplan
