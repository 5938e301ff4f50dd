// lint: reads an engine's command line or manifest, checks every flag against that version, and
// predicts what it would do.
#include <filesystem>
#include <iostream>
#include <iterator>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_options.h"
#include "cli/model_names.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "modelcards/file.h"
#include "planner/engines/manifest.h"
#include "reports/engine_report.h"
#include "reports/plan_json.h"
#include "reports/plan_text.h"

namespace vramplan::cli {
namespace {

constexpr Bytes kMostManifest = 1_MiB;

struct LintCommand {
  std::vector<std::string> words;
  std::string model, device, version, out;
};

std::string text_of(const std::vector<std::string>& words) {
  if (words.size() == 1 && words.front() == "-") {
    std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    if (Bytes{static_cast<std::int64_t>(text.size())} <= kMostManifest) return text;
    throw Error(ErrorCode::kFile, "more than 1 MiB on stdin").at("-");
  }
  if (words.size() == 1 && words.front().find(' ') == std::string::npos) {
    return read_text(*open_file(words.front()), kMostManifest);
  }
  if (words.size() == 1) return words.front();
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + shell_quoted(word);
  return text;
}

/// A setup as the flags of plan.
PlanOptions plan_options(const EngineSetup& setup, const LintCommand& options,
                         const std::string& device) {
  const PlanRequest request = plan_request_of(setup);
  PlanOptions plan;
  plan.model = card_for(options.model.empty() ? setup.model : options.model);
  plan.device = options.device.empty() ? device : options.device;
  plan.count = request.count;
  plan.tp = request.tp;
  plan.pp = request.pp;
  plan.batch = request.batch;
  plan.block_tokens = request.block_tokens;
  if (request.context) plan.context = std::to_string(request.context->n);
  if (request.prefill_chunk) plan.prefill_chunk = std::to_string(request.prefill_chunk->n);
  if (request.weights) plan.weights = info(*request.weights).name;
  if (request.kv_format) plan.kv_format = name_of(*request.kv_format);
  return plan;
}

int run_lint(const LintCommand& options, const Session& session) {
  const std::string file = options.words.size() == 1 ? options.words.front() : "command line";
  const LintedManifest linted = read_manifest(text_of(options.words), file, options.version);
  PlannedModel planned = plan_model(plan_options(linted.setup, options, linted.device));
  EngineRequest request = engine_request_of(linted.setup);
  open_draft(request);
  add_forecast(request, planned, EngineVerdict::kDecides);
  if (!options.out.empty()) write_file(options.out, write_plan(planned.plan));
  if (session.json) {
    print_result(plan_json(planned.plan));
  } else {
    const TextOptions o = text_options();
    const Plan& plan = planned.plan;
    print_result(verdict_line(plan.predictions.fits, plan.predictions.fits ? "starts" : "fails",
                              plan.predictions.binding_constraint, o) +
                 engine_text(plan, o) + assumptions_text(plan, o));
  }
  return planned.plan.predictions.fits ? kExitFits : kExitDoesNotFit;
}

}  // namespace

void add_lint_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<LintCommand>();
  CLI::App* command = app.add_subcommand(
      "lint", "Reads an engine's command line or manifest, checks its flags and predicts it");
  command
      ->add_option("FILE", options->words,
                   "manifest, chart values, script, - for stdin; or -- and the command itself")
      ->required();
  command->add_option("--model", options->model, "card, GGUF file or folder of the model it names");
  command->add_option("--device", options->device, "device card; default: what the manifest says");
  command->add_option("--engine-version", options->version,
                      "version to check against; default: what the manifest says, or the newest");
  command->add_option("--out", options->out, "also write the plan file");
  command->add_flag("--json", session.json, "one JSON object (schema vramplan.plan/1)");
  set_examples(*command, {"vramplan lint serve.yaml --device h100-sxm-80gb",
                          "vramplan lint --device h100-sxm-80gb -- vllm serve Qwen/Qwen3-8B -tp 2",
                          "kubectl get deployment llm -o yaml | vramplan lint -",
                          "vramplan lint values.yaml --device h100-sxm-80gb    # Helm, by chart"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_lint(*options, session); };
  });
}

}  // namespace vramplan::cli
