#include "cli/report_files.h"

#include "cli/session.h"
#include "reports/html.h"
#include "reports/junit.h"
#include "reports/markdown.h"

namespace vramplan::cli {

void add_report_flags(CLI::App& command, ReportFiles& files) {
  constexpr const char* kGroup = "Reports";
  command.add_option("--report,--html", files.html, "writes one HTML file that needs nothing else")
      ->group(kGroup);
  command.add_option("--markdown,--md", files.markdown, "writes Markdown for a pull request")
      ->group(kGroup);
  command.add_option("--junit", files.junit, "writes JUnit XML for a test tab")->group(kGroup);
}

void write_reports(const ReportFiles& files, const std::vector<RunRecord>& runs) {
  if (!files.html.empty()) write_file(files.html, html_report(runs));
  if (!files.markdown.empty()) write_file(files.markdown, run_markdown(runs));
  if (!files.junit.empty()) write_file(files.junit, junit_xml(runs));
}

}  // namespace vramplan::cli
