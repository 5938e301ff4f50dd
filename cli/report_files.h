#pragma once
// ReportFiles: the flags that write a run as HTML, Markdown or JUnit next to what goes to stdout.
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "reports/run_record.h"

namespace vramplan::cli {

struct ReportFiles {
  std::string html, markdown, junit;
};

/// --report or --html, --markdown or --md, --junit.
void add_report_flags(CLI::App& command, ReportFiles& files);
/// Writes those that were asked for. Errors: kFile.
void write_reports(const ReportFiles& files, const std::vector<RunRecord>& runs);

}  // namespace vramplan::cli
