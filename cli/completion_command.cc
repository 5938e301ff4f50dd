#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/usage.h"

namespace vramplan::cli {

void add_completion_command(CLI::App& app, Session& session) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "Prints a completion script for a shell");
  command->add_option("SHELL", *shell, "bash, zsh or fish")->required();
  set_examples(*command, {"source <(vramplan completion bash)",
                          "vramplan completion zsh > ~/.zfunc/_vramplan",
                          "vramplan completion fish > ~/.config/fish/completions/vramplan.fish"});
  command->callback([&app, &session, shell] {
    session.command = [&app, shell] {
      print_result(completion_script(app, *shell));
      return kExitFits;
    };
  });
}

}  // namespace vramplan::cli
