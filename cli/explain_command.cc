// explain: every row of a plan with its formula and numbers put in, or what an error code means.
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/error_codes.h"
#include "cli/plan_options.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "modelcards/file.h"
#include "planner/explain.h"

namespace vramplan::cli {
namespace {

int run_explain(const PlanOptions& options) {
  const std::string& what = options.model;
  if (what == "codes") {
    print_result(code_table());
  } else if (looks_like_code(what)) {
    print_result(explain_code(what));
  } else {
    const PlannedModel planned =
        is_plan_file(what) ? reopen(read_plan_file(what)) : plan_model(options);
    print_result(explain(planned.source, planned.device, planned.plan));
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
  set_examples(*command, {"vramplan explain plan.yaml",
                          "vramplan explain llama-3-70b --device h100-sxm-80gb --count 2",
                          "vramplan explain VP0203                        # an error code"});
  command->callback(
      [options, &session] { session.command = [options] { return run_explain(*options); }; });
}

}  // namespace vramplan::cli
