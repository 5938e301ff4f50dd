// explain: every row of a plan with its formula and numbers put in, or what an error code means.
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/engine_options.h"
#include "cli/error_codes.h"
#include "cli/error_json.h"
#include "cli/plan_options.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "modelcards/file.h"
#include "planner/explain.h"
#include "reports/plan_json.h"

namespace vramplan::cli {
namespace {

int run_explain(const PlanOptions& options, const Session& session) {
  const std::string& what = options.model;
  if (what == "codes") {
    print_result(session.json ? codes_json() : code_table());
  } else if (looks_like_code(what)) {
    const ErrorMeaning& meaning = meaning_of(what);
    print_result(session.json ? code_json(meaning) : code_page(meaning));
  } else {
    PlannedModel planned = is_plan_file(what) ? reopen(read_plan_file(what)) : plan_model(options);
    restore_forecast(planned);
    // As JSON it is the plan itself: each of its rows carries its formula.
    print_result(session.json ? plan_json(planned.plan)
                              : explain(planned.source, planned.device, planned.plan));
  }
  return kExitFits;
}

}  // namespace

void add_explain_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand(
      "explain", "Shows where every byte of a plan comes from, or what an error code means");
  command->add_option("WHAT", options->model, "PLAN.yaml, MODEL, VPnnnn, or codes")->required();
  add_plan_flags(*command, *options);
  command->add_flag("--json", session.json, "the plan, or the codes, as one JSON object");
  set_examples(*command, {"vramplan explain plan.yaml",
                          "vramplan explain llama-3-70b --device h100-sxm-80gb --count 2",
                          "vramplan explain VP0203                        # an error code"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_explain(*options, session); };
  });
}

}  // namespace vramplan::cli
