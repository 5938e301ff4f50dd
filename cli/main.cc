// The program vramplan: parses the arguments, runs the command they chose, and turns every error
// into words on stderr and an exit code.
#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/error_json.h"
#include "cli/interrupt.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/usage.h"
#include "cli/version.h"

namespace vramplan::cli {
namespace {

void add_commands(CLI::App& app, Session& session) {
  app.name("vramplan");
  app.description(
      "Plans how a language model fits and performs on hardware, runs that plan, and shows row by\n"
      "row whether the prediction was right.");
  set_examples(app,
               {"vramplan plan llama-3-70b --device h100-sxm-80gb --count 2 --context 32k",
                "vramplan verify model.gguf --context 2k        # plan, run, compare",
                "vramplan explain model.gguf                    # every byte with its formula"});
  app.formatter(std::make_shared<ExamplesFirst>());
  app.set_version_flag("--version", version_line());
  app.require_subcommand(1);
  add_plan_command(app, session);
  add_explain_command(app, session);
  add_run_command(app, session);
  add_verify_command(app, session);
  add_search_command(app, session);
  add_mix_command(app, session);
  add_emit_command(app, session);
  add_lint_command(app, session);
  add_verify_log_command(app, session);
  add_calibrate_command(app, session);
  add_report_command(app, session);
  add_import_command(app, session);
  add_models_command(app, session);
  add_devices_command(app, session);
  add_schema_command(app, session);
  add_completion_command(app, session);
  add_man_command(app, session);
  add_version_command(app, session);
}

/// Whether the caller reads JSON; needed before parsing, since parsing itself can fail.
bool wants_json(int count, char** arguments) {
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    if (word == "--json" || word == "--output=json" || word == "-ojson") return true;
    const bool output = word == "-o" || word == "--output";
    if (output && i + 1 < count && std::string(arguments[i + 1]) == "json") return true;
  }
  return false;
}

int report_error(const Error& error, bool json) {
  std::string text = error.what();
  if (colour_allowed(stderr) && text.rfind("error[", 0) == 0) {
    text = "\x1b[31m" + text.substr(0, text.find(':')) + "\x1b[0m" + text.substr(text.find(':'));
  }
  fmt::print(stderr, "{}\n", text);
  if (json) std::fputs(error_json(error).c_str(), stdout);
  return exit_code(error.code());
}

/// "vramplan help plan" is "vramplan plan --help", as people type it elsewhere.
std::vector<std::string> words_of(int count, char** arguments) {
  std::vector<std::string> words(arguments + std::min(count, 1), arguments + count);
  if (words.empty() || words[0] != "help") return words;
  words.erase(words.begin());
  words.push_back("--help");
  return words;
}

int parse_and_run(int count, char** arguments, Session& session) {
  CLI::App app;
  add_commands(app, session);
  try {
    std::vector<std::string> words = words_of(count, arguments);
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the end
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    print_result(chosen.empty() ? app.help() : chosen.front()->help());
    return 0;
  } catch (const CLI::CallForVersion& answer) {
    print_result(std::string(answer.what()) + "\n");
    return 0;
  } catch (const CLI::ParseError& error) {
    throw usage_error(app, error);
  }
  const int code = session.command();
  check_interrupt();
  return code;
}

int guarded_main(int count, char** arguments) {
  Session session;
  session.json = wants_json(count, arguments);
  try {
    return parse_and_run(count, arguments, session);
  } catch (const Error& error) {
    return report_error(error, session.json);
  } catch (const Interrupted& stop) {
    fmt::print(stderr, "interrupted\n");
    return stop.exit_code();
  } catch (const std::bad_alloc&) {
    return report_error(Error(ErrorCode::kIo, "the machine has no memory left for this"),
                        session.json);
  } catch (const std::exception& error) {
    return report_error(Error(ErrorCode::kInternal, std::string("unexpected: ") + error.what())
                            .help("this is our bug; please report the command line"),
                        session.json);
  }
}

}  // namespace
}  // namespace vramplan::cli

int main(int count, char** arguments) {
  vramplan::cli::install_signal_handlers();
  const int code = vramplan::cli::guarded_main(count, arguments);
  // A result that never reached its reader is no success.
  if (std::fflush(stdout) != 0 && code == 0) return vramplan::cli::kExitInternal;
  return code;
}
