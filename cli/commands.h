#pragma once
// Commands: each adds one subcommand to the program; its callback leaves the work in
// Session::command. One file a subcommand: <name>_command.cc.
#include <CLI/CLI.hpp>

#include "cli/session.h"

namespace vramplan::cli {

void add_plan_command(CLI::App& app, Session& session);
void add_search_command(CLI::App& app, Session& session);
void add_mix_command(CLI::App& app, Session& session);
void add_man_command(CLI::App& app, Session& session);
void add_emit_command(CLI::App& app, Session& session);
void add_lint_command(CLI::App& app, Session& session);
void add_verify_log_command(CLI::App& app, Session& session);
void add_explain_command(CLI::App& app, Session& session);
void add_run_command(CLI::App& app, Session& session);
void add_verify_command(CLI::App& app, Session& session);
void add_calibrate_command(CLI::App& app, Session& session);
void add_report_command(CLI::App& app, Session& session);
void add_models_command(CLI::App& app, Session& session);
void add_import_command(CLI::App& app, Session& session);
void add_devices_command(CLI::App& app, Session& session);
void add_schema_command(CLI::App& app, Session& session);
void add_completion_command(CLI::App& app, Session& session);
void add_version_command(CLI::App& app, Session& session);

}  // namespace vramplan::cli
