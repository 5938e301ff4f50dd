// man: the manual page, in roff.
#include "cli/commands.h"
#include "cli/man_page.h"
#include "cli/usage.h"
#include "cli/version.h"

namespace vramplan::cli {

void add_man_command(CLI::App& app, Session& session) {
  CLI::App* command = app.add_subcommand("man", "Prints the manual page, in roff");
  set_examples(*command, {"vramplan man | man -l -", "vramplan man > vramplan.1"});
  command->callback([&app, &session] {
    session.command = [&app] {
      print_result(man_page(app, std::string("vramplan ") + version()));
      return kExitFits;
    };
  });
}

}  // namespace vramplan::cli
