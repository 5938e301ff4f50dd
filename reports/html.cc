#include "reports/html.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/assets.h"
#include "reports/charts.h"
#include "reports/escape.h"
#include "reports/headline.h"
#include "reports/html_tables.h"
#include "reports/plan_json.h"
#include "reports/run_json.h"

namespace vramplan {
namespace {

/// Hexadecimal digits as base64, the form a content security policy wants.
std::string base64_of_hex(const std::string& hex) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bits;
  for (const char c : hex) {
    const int nibble = c <= '9' ? c - '0' : c - 'a' + 10;
    for (int i = 3; i >= 0; --i) bits += ((nibble >> i) & 1) != 0 ? '1' : '0';
  }
  while (bits.size() % 6 != 0) bits += '0';
  std::string out;
  for (std::size_t i = 0; i < bits.size(); i += 6) {
    int value = 0;
    for (std::size_t j = 0; j < 6; ++j) value = value * 2 + (bits[i + j] - '0');
    out += kDigits[value];
  }
  while (out.size() % 4 != 0) out += '=';
  return out;
}

std::string page(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      // Upper case, so that a search of the page for outside addresses finds nothing at all.
      "<meta HTTP-EQUIV=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n{}"
      "<script>{}</script>\n</body>\n</html>\n",
      base64_of_hex(kReportCssSha256), base64_of_hex(kReportJsSha256), html_text(title), kReportCss,
      body, kReportJs);
}

std::string header_of(const std::string& text) {
  return "<header><h1>" + html_text(text) + "</h1></header>\n";
}

constexpr const char* kFooter =
    "<footer>Every number is a formula with its inputs, a measurement with its machine, or a named "
    "assumption. Error = predicted \u2212 observed: a negative error is an "
    "under-prediction.</footer>\n";

std::string both_widths(const std::string& wide, const std::string& narrow) {
  return "<div class=\"wide\">" + wide + "</div><div class=\"narrow\">" + narrow + "</div>\n";
}

std::string figure(const std::string& value, const std::string& what) {
  return "<div class=\"figure\"><b>" + html_text(value) + "</b><span>" + html_text(what) +
         "</span></div>\n";
}

std::string verdict_card(bool good, const std::string& word,
                         const std::vector<std::string>& sentences,
                         const std::vector<std::string>& failures) {
  std::string out = fmt::format("<div class=\"card verdict{}\"><p class=\"word\">{} {}</p>\n",
                                good ? "" : " fail", good ? "\u2713" : "\u2717", html_text(word));
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    out += fmt::format("<p{}>{}</p>\n", i == 0 ? "" : " class=\"dim\"", html_text(sentences[i]));
  }
  return out + html_list(failures) + "</div>\n";
}

std::string swatch(const std::string& class_name) {
  return "<svg viewBox=\"0 0 22 12\" aria-hidden=\"true\"><rect class=\"" + class_name +
         "\" x=\"0\" y=\"0\" width=\"22\" height=\"12\" rx=\"2\"/></svg>";
}

std::string stroke_swatch(const std::string& group) {
  return "<svg viewBox=\"0 0 22 12\" aria-hidden=\"true\"><g class=\"" + group +
         "\"><path class=\"observed-line\" d=\"M0 6L22 6\"/></g></svg>";
}

std::string bars_card(const std::vector<MemoryBar>& bars) {
  if (bars.empty()) return "";
  std::vector<Category> shown;
  for (const MemoryBar& bar : bars) {
    for (const BarPart& part : bar.parts) {
      if (std::find(shown.begin(), shown.end(), part.category) == shown.end()) {
        shown.push_back(part.category);
      }
    }
  }
  std::sort(shown.begin(), shown.end());
  std::string legend = "<div class=\"legend\">";
  for (const Category category : shown) {
    std::string name = name_of(category);
    std::replace(name.begin(), name.end(), '_', ' ');
    legend += "<span>" + swatch(color_class(category)) + name + "</span>";
  }
  return html_card("Memory at the fullest phase",
                   both_widths(bars_chart(bars, kWideChart), bars_chart(bars, kNarrowChart)) +
                       legend + "</div>\n");
}

std::string series_box(const std::string& group, const std::string& label,
                       const std::string& sample) {
  return "<label><input type=\"checkbox\" checked disabled data-series=\"" + group + "\">" +
         sample + html_text(label) + "</label>";
}

std::string curve_card(const Plan& plan, const std::vector<MemorySample>& samples) {
  const std::vector<CurvePoint>& curve = plan.predictions.curve;
  if (curve.empty() && samples.empty()) return "";
  Bytes capacity;
  for (const DevicePrediction& device : plan.predictions.devices) {
    if (device.rank == 0) capacity = device.capacity;
  }
  const bool resident = std::any_of(samples.begin(), samples.end(),
                                    [](const MemorySample& s) { return s.resident.n > 0; });
  std::string legend = "<div class=\"legend\">";
  if (!curve.empty())
    legend += series_box("s-predicted", "predicted, all rows", swatch("predicted-area"));
  if (!samples.empty())
    legend += series_box("s-taken", "observed, tensors", stroke_swatch("s-taken"));
  if (resident)
    legend += series_box("s-resident", "observed, whole process", stroke_swatch("s-resident"));
  return html_card("Memory over time, rank 0",
                   both_widths(curve_chart(curve, samples, capacity, kWideChart),
                               curve_chart(curve, samples, capacity, kNarrowChart)) +
                       legend + "</div>\n");
}

std::string advice_card(const Predictions& p) {
  std::string body;
  if (!p.binding_constraint.empty()) body += "<p>" + html_text(p.binding_constraint) + "</p>\n";
  return html_card(p.fits ? "Binding constraint, and what the memory left over buys"
                          : "Binding constraint, and the cheapest changes that would help",
                   body + html_list(p.advice));
}

std::string data_block(const std::string& id, const std::string& json) {
  return "<script type=\"application/json\" id=\"data-" + id + "\">" + script_json(json) +
         "</script>\n";
}

int charts_in(const std::string& html) {
  int count = 0;
  for (std::size_t at = 0; (at = html.find("<svg class=\"chart ", at)) != std::string::npos; ++at) {
    ++count;
  }
  return count;
}

std::string section(const std::string& id, const std::string& body, const std::string& json) {
  return fmt::format("<section data-run=\"{}\" id=\"run-{}\" data-charts=\"{}\">\n", id, id,
                     charts_in(body)) +
         body + data_block(id, json) + "</section>\n";
}

std::string plan_figures(const Plan& plan) {
  const Predictions& p = plan.predictions;
  std::string out = "<div class=\"figures\">\n";
  if (!p.devices.empty()) {
    const auto fullest = std::min_element(p.devices.begin(), p.devices.end(),
                                          [](const DevicePrediction& a, const DevicePrediction& b) {
                                            return a.headroom < b.headroom;
                                          });
    out += figure(to_text(fullest->predicted), "predicted peak of the fullest rank");
    out += figure(signed_text(fullest->headroom), "headroom of " + to_text(fullest->capacity));
  }
  out += figure(to_text(p.performance.ttft), "time to first token");
  out += figure(fmt::format("{:.1f} tok/s", p.performance.tokens_per_second),
                "decode, limited by " + p.performance.limited_by);
  return out + "</div>\n";
}

std::string run_figures(const RunRecord& run) {
  const Verdict& v = run.verdict;
  const bool measured = v.process.outcome != Outcome::kNotMeasured;
  std::string out = "<div class=\"figures\">\n";
  out += figure(to_text(v.process.predicted), "predicted peak of the process");
  out += figure(measured ? to_text(v.process.observed) : "not measured",
                measured ? "observed peak, error " + error_text(v.process) : "observed peak");
  for (const TimeRow& row : v.times) {
    if (row.name != "ttft_seconds" && row.name != "decode_tokens_per_second") continue;
    out += figure(
        row.outcome == Outcome::kNotMeasured ? "not measured" : time_value(row.name, row.observed),
        time_title(row.name) + ", predicted " + time_value(row.name, row.predicted));
  }
  out += figure(std::to_string(v.under_predictions), "under-predictions, any size");
  return out + "</div>\n";
}

std::string run_section(const RunRecord& run, const std::string& id) {
  const Verdict& v = run.verdict;
  const std::vector<RankGroup> groups = rank_groups(run.plan, v);
  const char* times_title = is_dry(run.measurement) ? "Times (virtual clock, not a measurement)"
                                                    : "Times, predicted and observed";
  std::string body = "<h2>" + html_text(run.name) + "</h2>\n";
  body += verdict_card(v.within, verify_word(v),
                       {verify_headline(run), score_line(v), configuration(run.plan)}, v.failures);
  body += run_figures(run);
  body += bars_card(memory_bars(run.plan, &run.measurement, groups));
  body += curve_card(run.plan, run.measurement.samples);
  body += html_card("How right each row was", both_widths(error_chart(run.plan, v, kWideChart),
                                                          error_chart(run.plan, v, kNarrowChart)));
  body += html_card("Rows, bytes", rows_table(run, groups) +
                                       "<details><summary>why: formulas and probes</summary>\n" +
                                       reasons_table(run, groups) + "</details>\n");
  body += html_card(times_title, times_table(run));
  body += html_card("Where the predicted time goes",
                    time_terms_table(run.plan.predictions.performance));
  body += html_card("Time by operation, predicted and observed", time_terms_table(v));
  body += html_card("Capacity = free + rows + unaccounted", capacity_table(run.measurement));
  body += html_card("Scoring of the measured rows", scoring_table(v));
  body += advice_card(run.plan.predictions);
  body += html_card("Notes", html_list(v.notes));
  body += "<div class=\"columns\">" +
          html_card("Machine", machine_list(run.measurement.environment)) +
          html_card("Limits of the plan", limits_list(run.plan.predictions)) + "</div>\n";
  body += html_card("Assumed", assumptions_table(run.plan));
  if (!run.measurement.text.empty()) {
    body += html_card("Generated text", "<details><summary>show</summary><pre>" +
                                            html_text(run.measurement.text) + "</pre></details>\n");
  }
  return section(id, body, verify_json(run));
}

std::string overview(const std::vector<RunRecord>& runs) {
  std::string rows;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const Verdict& v = runs[i].verdict;
    rows += fmt::format("<tr><td><a href=\"#run-{}\">{}</a></td>", i, html_text(runs[i].name)) +
            text_cell(std::string(v.within ? "\u2713 " : "\u2717 ") + verify_word(v),
                      v.within ? "good" : "bad") +
            number_cell(std::to_string(v.under_predictions), v.under_predictions) +
            number_cell(signed_text(v.worst_error), static_cast<double>(v.worst_error.n)) +
            "</tr>\n";
  }
  return html_card(
      "Runs", html_table({{"run"}, {"verdict"}, {"under-predictions", true}, {"worst error", true}},
                         rows, "overview"));
}

}  // namespace

std::string plan_html(const Plan& plan) {
  const Predictions& p = plan.predictions;
  const std::vector<RankGroup> groups = rank_groups(plan);
  std::string body = "<h2>" + html_text(plan.decisions.model) + "</h2>\n";
  body += verdict_card(p.fits, plan_word(plan), {plan_headline(plan), configuration(plan)}, {});
  body += plan_figures(plan) + bars_card(memory_bars(plan, nullptr, groups)) + curve_card(plan, {});
  body += advice_card(p) + html_card("Ledger", ledger_table(plan, groups));
  body += html_card("Where the time goes", time_terms_table(p.performance));
  body += html_card("Limits", limits_list(p)) + html_card("Assumed", assumptions_table(plan));
  return page("vramplan: " + plan_word(plan) + ", " + plan.decisions.model,
              header_of("vramplan: plan") + "<main>\n" + section("0", body, plan_json(plan)) +
                  "</main>\n" + kFooter);
}

std::string html_report(const std::vector<RunRecord>& runs) {
  std::string body;
  bool within = true;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    within = within && runs[i].verdict.within;
    body += run_section(runs[i], std::to_string(i));
  }
  const std::string title =
      std::string("vramplan: ") + (within ? "within" : "out of") + " tolerance";
  return page(title, header_of("vramplan: prediction against run") + "<main>\n" +
                         (runs.size() > 1 ? overview(runs) : "") + body + "</main>\n" + kFooter);
}

}  // namespace vramplan
