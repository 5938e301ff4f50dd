#include "cli/man_page.h"

#include <fmt/format.h>

#include "cli/usage.h"

namespace vramplan::cli {
namespace {

/// Text of a roff line: backslashes and dashes escaped, no control line by accident.
std::string roff(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool starts = i == 0 || text[i - 1] == '\n';
    if (starts && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string options_of(const CLI::App& command) {
  std::string out;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().empty()) continue;
    const std::string name = option->get_positional() ? option->get_name(true, false)
                                                       : option->get_name(false, true);
    out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(name), roff(option->get_description()));
  }
  return out;
}

}  // namespace

std::string man_page(const CLI::App& app, const std::string& version) {
  std::string out = fmt::format(".TH VRAMPLAN 1 \"\" \"{}\" \"User Commands\"\n", roff(version));
  out += ".SH NAME\nvramplan \\- plans how a language model fits and performs on hardware\n";
  out += ".SH SYNOPSIS\n.B vramplan\n.I COMMAND\n[\\fIARGUMENTS\\fR]\n.SH DESCRIPTION\n";
  out += roff(app.get_description()) + "\n.SH COMMANDS\n";
  for (const CLI::App* command : listed_subcommands(app)) {
    out += fmt::format(".SS {}\n{}\n", roff(command->get_name()), roff(command->get_description()));
    out += options_of(*command);
  }
  out +=
      ".SH EXIT STATUS\n0 fits or within tolerance, 1 internal error, 2 bad usage or input, 3 does "
      "not fit, 4 regression, 5 prediction out of tolerance, 6 unsupported, 7 no device, 130 and 143 "
      "interrupted.\n";
  return out;
}

}  // namespace vramplan::cli
