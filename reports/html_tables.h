#pragma once
// html_tables: the tables and lists of the HTML report. All text goes through html_text.
#include <string>
#include <vector>

#include "reports/rank_groups.h"
#include "reports/run_record.h"

namespace vramplan {

/// <div class="card"> with a heading; empty when `body` is.
std::string html_card(const std::string& heading, const std::string& body);
/// <ul>, empty when there are no lines.
std::string html_list(const std::vector<std::string>& lines);

/// A sortable column: its head, and whether cells are numbers.
struct HtmlColumn {
  std::string title;
  bool number = false;
  bool sortable = true;
};
/// <div class="scroll"><table>; `rows` are finished <tr> elements.
std::string html_table(const std::vector<HtmlColumn>& columns, const std::string& rows,
                       const std::string& class_name);
/// A number cell: shown text, and the number it sorts by.
std::string number_cell(const std::string& shown, double value);
std::string text_cell(const std::string& text, const std::string& class_name = "");

std::string ledger_table(const Plan& plan, const std::vector<RankGroup>& groups);
std::string rows_table(const RunRecord& run, const std::vector<RankGroup>& groups);
/// Why: formula and probe of every row.
std::string reasons_table(const RunRecord& run, const std::vector<RankGroup>& groups);
std::string capacity_table(const Measurement& measurement);
std::string scoring_table(const Verdict& verdict);
std::string times_table(const RunRecord& run);
std::string time_terms_table(const Performance& performance);
/// Predicted beside observed, where the run timed its operations; else empty.
std::string time_terms_table(const Verdict& verdict);
std::string limits_list(const Predictions& predictions);
std::string assumptions_table(const Plan& plan);
std::string machine_list(const Environment& environment);

}  // namespace vramplan
