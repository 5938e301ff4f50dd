// verify-log: a prediction beside what an engine printed while it started; needs no GPU.
#include <cmath>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_options.h"
#include "cli/log_report_json.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "modelcards/file.h"
#include "planner/engines/boot_log.h"
#include "reports/escape.h"

namespace vramplan::cli {
namespace {

constexpr Bytes kMostLog = 256_MiB;

struct VerifyLogCommand {
  PlanOptions plan;
  EngineOptions engine;
  std::string log;
  double tolerance = 0.03;
};

std::string value_text(double value, const std::string& unit) {
  if (unit == "bytes") return to_text(Bytes{std::llround(value)});
  if (unit == "starts") return value > 0 ? "yes" : "no";
  return unit == "tokens" ? grouped(std::llround(value)) : fmt::format("{:.2f}", value);
}

std::string rows_text(const std::vector<LogRow>& rows, const TextOptions& o) {
  TextTable table({{"term"}, {"predicted", true}, {"observed", true}, {"error", true}, {"outcome"}},
                  o);
  for (const LogRow& row : rows) {
    table.add({row.term, value_text(row.predicted.value_or(0), row.unit),
               value_text(row.observed, row.unit), fmt::format("{:+.2f} %", 100 * row.error),
               row.outcome},
              row.outcome == "within" ? Ink::kGood : Ink::kBad);
  }
  return table.render();
}

int run_verify_log(const VerifyLogCommand& options, const Session& session) {
  BootLog log = parse_boot_log(read_text(*open_file(options.log), kMostLog));
  if (log.empty()) {
    throw Error(ErrorCode::kUsage, "the log holds no line about memory that is known here")
        .at(options.log)
        .help("give the output of the engine's start, at its usual level of detail");
  }
  EngineOptions engine = options.engine;
  PlanOptions asked = options.plan;
  move_speculation(asked, engine);
  if (engine.engine.empty() && log.engine) {
    engine.engine = name_of(*log.engine);
    if (!log.version.empty()) engine.engine += "@" + log.version;
  }
  auto request = engine_request(engine);
  if (!request) {
    throw Error(ErrorCode::kUsage, "the log does not say which engine wrote it")
        .at("", "--engine")
        .help("name it with --engine");
  }
  follow_engine(engine, asked);
  PlannedModel planned =
      is_plan_file(asked.model) ? reopen(read_plan_file(asked.model)) : plan_model(asked);
  const std::optional<EngineDecision>& kept = planned.plan.engine;
  if (kept && !has_engine_settings(engine)) {
    EngineRequest of_plan = engine_request(*kept);
    if (of_plan.id.kind == request->id.kind) {
      of_plan.id = request->id;
      open_draft(of_plan);
      request = of_plan;
    }
  }
  const EngineOutcome outcome =
      forecast_engine(planned.source, planned.device, planned.plan.decisions, *request);
  if (log.kv_blocks && !log.kv_tokens) {
    log.kv_tokens = planned.plan.decisions.block * *log.kv_blocks;
  }
  if (log.failure) {
    fmt::print(stderr, "note: the engine did not start: {}{}\n", log.failure->why,
               log.failure->longest_that_fits
                   ? fmt::format("; it says {} tokens would fit",
                                 grouped(log.failure->longest_that_fits->n))
                   : "");
  }
  const std::vector<LogRow> rows =
      compare_log(log, outcome.devices.front(), options.tolerance, 256_MiB);
  bool good = true;
  for (const LogRow& row : rows) good = good && row.outcome == "within";
  print_result(session.json ? log_json(outcome.devices.front(), rows)
                            : rows_text(rows, text_options()));
  return good ? kExitFits : kExitOutOfTolerance;
}

}  // namespace

void add_verify_log_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<VerifyLogCommand>();
  CLI::App* command = app.add_subcommand(
      "verify-log", "Compares a prediction with what an engine printed while it started");
  command->add_option("LOG", options->log, "the engine's output")->required();
  command->add_option("MODEL", options->plan.model, "plan file, card name, GGUF file or folder")
      ->required();
  add_plan_flags(*command, options->plan);
  add_engine_flags(*command, options->engine);
  command->add_option("--tolerance", options->tolerance, "share of the observation, e.g. 0.03")
      ->check(CLI::Range(0.0, 10.0));
  command->add_flag("--json", session.json, "one JSON object (schema vramplan.log/1)");
  set_examples(*command,
               {"vramplan verify-log boot.log llama-3.1-8b --device h100-sxm-80gb",
                "vramplan verify-log boot.log plan.yaml --engine vllm@0.19.0",
                "vramplan verify-log boot.log qwen3-8b --device l4-24gb --tolerance 0.05 --json"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_verify_log(*options, session); };
  });
}

}  // namespace vramplan::cli
