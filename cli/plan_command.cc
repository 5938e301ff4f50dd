// plan: the answer, then the reasons.
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_options.h"
#include "cli/plan_options.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "reports/markdown.h"
#include "reports/plan_csv.h"
#include "reports/plan_json.h"
#include "reports/plan_text.h"

namespace vramplan::cli {
namespace {

struct PlanCommand {
  PlanOptions plan;
  EngineOptions engine;
  std::string format = "table";
  std::string out;
};

std::string rendered(const Plan& plan, const std::string& format) {
  if (format == "json") return plan_json(plan);
  if (format == "yaml") return write_plan(plan);
  if (format == "csv") return plan_csv(plan);
  if (format == "md") return plan_markdown(plan);
  return plan_text(plan, text_options());
}

int run_plan_command(const PlanCommand& options, const Session& session) {
  PlanOptions asked = options.plan;
  EngineOptions settings = options.engine;
  if (!settings.engine.empty()) move_speculation(asked, settings);
  move_experts(settings, asked);
  std::optional<EngineRequest> engine = engine_request(settings);
  follow_engine(settings, asked);
  PlannedModel planned = plan_model(asked);
  if (engine) follow_plan_cache(settings, asked, planned.plan.decisions, *engine);
  if (engine) add_forecast(*engine, planned);
  if (engine) add_serving(options.engine, *engine, planned);
  if (!options.out.empty()) write_file(options.out, write_plan(planned.plan));
  print_result(rendered(planned.plan, session.json ? "json" : options.format));
  return planned.plan.predictions.fits ? kExitFits : kExitDoesNotFit;
}

}  // namespace

void add_plan_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<PlanCommand>();
  CLI::App* command = app.add_subcommand(
      "plan", "Says whether a model fits, what takes the bytes, and how fast it will be");
  command->add_option("MODEL", options->plan.model, "card name, GGUF file, or checkpoint folder")
      ->required();
  add_plan_flags(*command, options->plan);
  add_engine_flags(*command, options->engine);
  command->add_flag("--json", session.json, "one JSON object (schema vramplan.plan/1)");
  add_list_format(*command, options->format);
  command->add_option("--out", options->out, "also write the plan file for run");
  set_examples(*command,
               {"vramplan plan llama-3-70b --device h100-sxm-80gb --count 2 --context 32k",
                "vramplan plan model.gguf --context 8k --batch 4 --out plan.yaml",
                "vramplan plan llama-2-7b --device rtx-4090-24gb --weights q4_k --json",
                "vramplan plan llama-3.1-8b --device h100-sxm-80gb --engine vllm@0.19.0 --json"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_plan_command(*options, session); };
  });
}

}  // namespace vramplan::cli
