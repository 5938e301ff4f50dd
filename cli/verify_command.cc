// verify: plan, run, and the verdict row by row: the gate of a CI job.
#include <fmt/format.h>

#include <algorithm>

#include "cli/commands.h"
#include "cli/execution.h"
#include "cli/report_files.h"
#include "cli/terminal.h"
#include "cli/tolerance_options.h"
#include "cli/usage.h"
#include "executor/timing_rounds.h"
#include "reports/run_json.h"
#include "reports/verify_text.h"

namespace vramplan::cli {
namespace {

struct VerifyCommand {
  PlanOptions plan;
  ToleranceOptions tolerances;
  ReportFiles files;
  std::string backend, out;
  CudaRequest cuda;
  std::string offload_directory;
  std::int64_t rounds = 0;  // 0: chosen by the time the first one took
};

constexpr std::int64_t kMostRounds = 5;
constexpr double kRoundsSeconds = 4;

/// The plan is run, and run again for its times alone when it is short; memory is that of the
/// first round, where the process had taken nothing yet.
Measurement measure(const VerifyCommand& options, PlannedModel& planned,
                    const std::string& backend) {
  TextRequest no_text;
  no_text.cuda = options.cuda;
  no_text.offload_directory = options.offload_directory;
  Measurement measurement = execute(planned, backend, no_text);
  const Timings& first = measurement.timings;
  const double seconds = first.load.v + first.prefill.v + first.decode.v;
  std::int64_t wanted = options.rounds;
  if (wanted == 0 && backend != "dry" && seconds > 0) {
    wanted = std::min(kMostRounds, static_cast<std::int64_t>(kRoundsSeconds / seconds));
  }
  std::vector<Timings> rounds = {first};
  while (static_cast<std::int64_t>(rounds.size()) < wanted) {
    rounds.push_back(execute(planned, backend, no_text).timings);
  }
  measurement.timings = median_of_rounds(rounds);
  return measurement;
}

int run_verify(const VerifyCommand& options, const Session& session) {
  const Tolerances tolerances = tolerances_of(options.tolerances);
  if (!options.backend.empty()) require_backend(options.backend);
  PlannedModel planned = plan_model(options.plan);
  const std::string backend = choose_backend(options.backend, planned);
  require_runnable(backend, planned);
  require_fit(planned.plan);
  note_random_weights(planned, backend);
  if (!options.out.empty()) write_file(options.out, write_plan(planned.plan));
  Measurement measurement = measure(options, planned, backend);
  const RunRecord run = make_run(run_name(planned, backend), std::move(planned.plan),
                                 std::move(measurement), tolerances);
  write_reports(options.files, {run});
  print_result(session.json ? verify_json(run) : verify_text(run, text_options()));
  return exit_code_of(run.verdict);
}

}  // namespace

void add_verify_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<VerifyCommand>();
  CLI::App* command = app.add_subcommand(
      "verify", "Plans, runs the plan, and shows row by row whether the prediction was right");
  command->add_option("MODEL", options->plan.model, "card name, GGUF file, or checkpoint folder")
      ->required();
  command->add_option("--backend", options->backend,
                      "cpu, cuda or dry; default: cpu on a cpu device, else dry");
  add_plan_flags(*command, options->plan);
  add_tolerance_flags(*command, options->tolerances);
  add_offload_flag(*command, options->offload_directory);
  add_cuda_flags(*command, options->cuda);
  add_report_flags(*command, options->files);
  command
      ->add_option("--rounds", options->rounds,
                   "times the run is measured, the median counts; default: as many as take 4 s, "
                   "at most 5")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{100}));
  command->add_option("--out", options->out, "also write the plan file");
  command->add_flag("--json", session.json, "one JSON object (schema vramplan.verify/1)");
  set_examples(*command,
               {"vramplan verify model.gguf --context 2k --batch 4 --report report.html",
                "vramplan verify llama-3.1-405b --device h100-sxm-80gb --count 16 --backend dry",
                "vramplan verify model.gguf --json --junit verify.xml > verify.json"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_verify(*options, session); };
  });
}

}  // namespace vramplan::cli
