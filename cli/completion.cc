#include "cli/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/usage.h"
#include "modelcards/error.h"

namespace vramplan::cli {
namespace {

/// Inside single quotes of any of the three shells.
std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else if (c != '\n') {
      out += c;
    }
  }
  return out + "'";
}

/// zsh reads [ ] : in descriptions as syntax.
std::string zsh_description(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':') out += '\\';
    out += c;
  }
  return out;
}

// Card names are asked from the program itself; models may also be files.
constexpr const char* kBashHead =
    R"(# bash completion for vramplan; load with: source <(vramplan completion bash)
_vramplan() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local command=${COMP_WORDS[1]}
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
)";
constexpr const char* kBashTail = R"(  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif [[ -n $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$word") $(compgen -f -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _vramplan vramplan
)";

bool takes_model(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional() && option->get_name(true).find("MODEL") != std::string::npos) {
      return true;
    }
  }
  return false;
}

std::string bash(const CLI::App& app) {
  std::string names, cases;
  for (const CLI::App* command : listed_subcommands(app)) {
    names += (names.empty() ? "" : " ") + command->get_name();
    cases += fmt::format("    {}) flags=\"{}\"", command->get_name(),
                         fmt::join(flag_names(*command), " "));
    if (takes_model(*command)) cases += "; words=$(vramplan models --names 2>/dev/null)";
    cases += " ;;\n";
  }
  return std::string(kBashHead) +
         fmt::format("    COMPREPLY=($(compgen -W \"{}\" -- \"$word\"))\n    return\n  fi\n",
                     names) +
         "  if [[ $previous == --device ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$(vramplan devices --names 2>/dev/null)\" -- \"$word\"))\n"
         "    return\n  fi\n"
         "  local flags= words=\n  case $command in\n" +
         cases + kBashTail;
}

std::string zsh(const CLI::App& app) {
  std::string text =
      "#compdef vramplan\n"
      "# zsh completion for vramplan; save as _vramplan in a folder of $fpath\n"
      "_vramplan() {\n  local -a commands\n  commands=(\n";
  std::string cases;
  for (const CLI::App* command : listed_subcommands(app)) {
    text += "    " +
            shell_quoted(command->get_name() + ":" + zsh_description(command->get_description())) +
            "\n";
    cases += fmt::format("    {})\n      _arguments", command->get_name());
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_group().empty() || option->get_positional()) continue;
      for (const auto& name : option->get_lnames()) {
        std::string spec = "--" + name + "[" + zsh_description(option->get_description()) + "]";
        if (name == "device") {
          spec += ":device:($(vramplan devices --names 2>/dev/null))";
        } else if (option->get_type_size() != 0) {
          spec += ":" + name + ":_files";
        }
        cases += " \\\n        " + shell_quoted(spec);
      }
    }
    cases +=
        takes_model(*command)
            ? " \\\n        '*:model:{ compadd $(vramplan models --names 2>/dev/null); _files }'\n"
            : " \\\n        '*:file:_files'\n";
    cases += "      ;;\n";
  }
  return text +
         "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n"
         "  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n" +
         cases + "  esac\n}\n" + "compdef _vramplan vramplan\n";
}

std::string fish(const CLI::App& app) {
  std::string text =
      "# fish completion for vramplan; save as ~/.config/fish/completions/vramplan.fish\n";
  for (const CLI::App* command : listed_subcommands(app)) {
    const std::string& name = command->get_name();
    text += fmt::format("complete -c vramplan -n __fish_use_subcommand -f -a {} -d {}\n", name,
                        shell_quoted(command->get_description()));
    const std::string condition = shell_quoted("__fish_seen_subcommand_from " + name);
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_group().empty()) continue;
      for (const auto& flag : option->get_lnames()) {
        text += fmt::format("complete -c vramplan -n {} -l {} -d {}", condition, flag,
                            shell_quoted(option->get_description()));
        if (flag == "device") {
          text += " -x -a '(vramplan devices --names 2>/dev/null)'";
        } else if (option->get_type_size() != 0) {
          text += " -r";
        }
        text += "\n";
      }
    }
    if (takes_model(*command)) {
      text += fmt::format("complete -c vramplan -n {} -a '(vramplan models --names 2>/dev/null)'\n",
                          condition);
    }
  }
  return text;
}

}  // namespace

std::string completion_script(const CLI::App& app, const std::string& shell) {
  if (shell == "bash") return bash(app);
  if (shell == "zsh") return zsh(app);
  if (shell == "fish") return fish(app);
  throw Error(ErrorCode::kUsage, fmt::format("no completion for '{}'", printable(shell)))
      .help(one_of(shell, {"bash", "zsh", "fish"}));
}

}  // namespace vramplan::cli
