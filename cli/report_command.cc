// report: renders saved runs again, and compares them with a baseline.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/report_files.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "modelcards/file.h"
#include "reports/baseline.h"
#include "reports/markdown.h"
#include "reports/run_json.h"
#include "reports/verify_text.h"

namespace vramplan::cli {
namespace {

struct ReportCommand {
  std::vector<std::string> runs, baselines;
  ReportFiles files;
};

RunRecord read_run(const std::string& path) {
  constexpr Bytes kMostRunBytes = 64_MiB;
  return read_run_json(read_text(*open_file(path), kMostRunBytes), path);
}

/// One baseline for all runs, or one for each in their order.
std::vector<Comparison> compare_all(const std::vector<RunRecord>& runs,
                                    const std::vector<std::string>& baselines) {
  if (baselines.empty()) return {};
  if (baselines.size() != 1 && baselines.size() != runs.size()) {
    throw Error(ErrorCode::kUsage,
                fmt::format("{} baselines for {} runs", baselines.size(), runs.size()))
        .at("", "--baseline")
        .help("give one baseline, or one for each run in the same order");
  }
  std::vector<Comparison> comparisons;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunRecord before = read_run(baselines.size() == 1 ? baselines[0] : baselines[i]);
    comparisons.push_back(compare(before, runs[i], NoiseBand{}));
  }
  return comparisons;
}

/// A regression first; else a run out of tolerance.
int code_of(const std::vector<RunRecord>& runs, const std::vector<Comparison>& comparisons) {
  for (const auto& comparison : comparisons) {
    if (exit_code_of(comparison) != 0) return exit_code_of(comparison);
  }
  int code = kExitFits;
  for (const auto& run : runs) code = std::max(code, exit_code_of(run.verdict));
  return code;
}

const RunRecord& one_run(const std::vector<RunRecord>& runs) {
  if (runs.size() == 1) return runs.front();
  throw Error(ErrorCode::kUsage, "--json without --baseline shows one run")
      .at("", "--json")
      .help("give one RUN, or a --baseline");
}

int run_report(const ReportCommand& options, const Session& session) {
  std::vector<RunRecord> runs;
  for (const auto& path : options.runs) runs.push_back(read_run(path));
  const auto comparisons = compare_all(runs, options.baselines);
  ReportFiles files = options.files;
  if (!files.markdown.empty() && !comparisons.empty()) {
    std::string markdown = run_markdown(runs);
    for (const auto& comparison : comparisons) markdown += "\n" + comparison_markdown(comparison);
    write_file(std::exchange(files.markdown, {}), markdown);
  }
  write_reports(files, runs);
  std::string text;
  if (session.json) {
    text = comparisons.empty() ? verify_json(one_run(runs)) : comparison_json(comparisons);
  } else {
    for (const auto& run : runs) text += verify_text(run, text_options());
    for (const auto& comparison : comparisons) text += "\n" + comparison_text(comparison);
  }
  print_result(text);
  return code_of(runs, comparisons);
}

}  // namespace

void add_report_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<ReportCommand>();
  CLI::App* command =
      app.add_subcommand("report", "Renders saved runs, and compares them with a baseline");
  command->add_option("RUN", options->runs, "JSON files of verify or run")->required();
  command
      ->add_option("--baseline", options->baselines,
                   "an earlier run; one for all, or repeated in the order of the runs")
      ->take_all()
      ->expected(1);
  add_report_flags(*command, options->files);
  command->add_flag("--json", session.json,
                    "the run, or with --baseline the comparison, as one JSON object");
  set_examples(*command, {"vramplan report verify.json --html report.html",
                          "vramplan report today.json --baseline main.json    # exit 4: regression",
                          "vramplan report *.json --md summary.md --junit tests.xml"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_report(*options, session); };
  });
}

}  // namespace vramplan::cli
