#include "cli/commands.h"
#include "cli/version.h"
#include "cli/version_json.h"

namespace vramplan::cli {

void add_version_command(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("version", "Prints version and commit");
  command->add_flag("--json", session.json, "as JSON");
  command->callback([&session] {
    session.command = [&session] {
      print_result(session.json ? version_json() : version_line() + "\n");
      return kExitFits;
    };
  });
}

}  // namespace vramplan::cli
