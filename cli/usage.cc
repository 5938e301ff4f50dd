#include "cli/usage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "modelcards/library.h"

namespace vramplan::cli {
namespace {

const CLI::App& chosen_command(const CLI::App& app) {
  const auto chosen =
      app.get_subcommands([](const CLI::App* command) { return command->parsed(); });
  return chosen.empty() ? app : *chosen.front();
}

/// The command's full name as typed: "vramplan plan".
std::string typed_name(const CLI::App& app, const CLI::App& command) {
  return &app == &command ? app.get_name() : app.get_name() + " " + command.get_name();
}

Error unknown_flag(const CLI::App& app, const CLI::App& command, const std::string& word) {
  const std::string flag = word.substr(0, word.find('='));
  const std::string name = typed_name(app, command);
  Error error(ErrorCode::kUsage, fmt::format("{} has no flag {}", name, printable(flag)));
  const auto nearest = nearest_names(flag, flag_names(command));
  error.help(nearest.empty() ? fmt::format("see '{} --help'", name)
                             : fmt::format("did you mean {}?", fmt::join(nearest, " or ")));
  return error;
}

Error unknown_subcommand(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* command : listed_subcommands(app)) names.push_back(command->get_name());
  Error error(ErrorCode::kUnknownName, fmt::format("no subcommand '{}'", printable(word)));
  const auto nearest = nearest_names(word, names);
  error.help(nearest.empty() ? fmt::format("one of: {}", fmt::join(names, " "))
                             : fmt::format("did you mean {}?", fmt::join(nearest, " or ")));
  return error;
}

bool looks_like_flag(const std::string& word) { return word.size() > 1 && word.front() == '-'; }

}  // namespace

std::string ExamplesFirst::make_help(const CLI::App* app, std::string name,
                                     CLI::AppFormatMode mode) const {
  if (mode == CLI::AppFormatMode::Sub) return make_expanded(app);
  if (app->get_parent() != nullptr) {
    name = app->get_parent()->get_name() + " " + app->get_name();
  }
  std::string text = make_description(app) + "\n";
  if (!app->get_footer().empty()) text += "Examples:\n" + app->get_footer() + "\n";
  text += make_usage(app, name);
  text += make_positionals(app);
  text += make_groups(app, mode);
  text += make_subcommands(app, mode);
  return text;
}

void set_examples(CLI::App& command, const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += "  " + line + "\n";
  command.footer(text);
}

std::vector<std::string> flag_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_group().empty()) continue;
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::vector<const CLI::App*> listed_subcommands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) {
    return !command->get_name().empty() && !command->get_group().empty();
  });
}

Error usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& command = chosen_command(app);
  // A word nobody expected explains the mistake better than what is missing because of it.
  const auto left_over = app.remaining(true);
  for (const auto& word : left_over) {
    if (looks_like_flag(word)) return unknown_flag(app, command, word);
  }
  if (&command == &app && !left_over.empty()) return unknown_subcommand(app, left_over.front());
  if (&command == &app) {
    return Error(ErrorCode::kUsage, "no subcommand given")
        .help(fmt::format("see '{} --help'", app.get_name()));
  }
  const std::string name = typed_name(app, command);
  if (!left_over.empty()) {
    return Error(ErrorCode::kUsage,
                 fmt::format("{} does not expect '{}'", name, printable(left_over.front())))
        .help(fmt::format("see '{} --help'", name));
  }
  return Error(ErrorCode::kUsage, printable(error.what()))
      .at("", name)
      .help(fmt::format("see '{} --help'", name));
}

std::string one_of(const std::string& word, const std::vector<std::string>& choices) {
  const auto nearest = nearest_names(word, choices);
  const std::string all = fmt::format("one of: {}", fmt::join(choices, " "));
  if (nearest.empty()) return all;
  return fmt::format("did you mean {}? {}", fmt::join(nearest, " or "), all);
}

void add_list_format(CLI::App& command, std::string& format) {
  const std::vector<std::string> formats = {"table", "json", "yaml", "csv", "md"};
  command.add_option("-o,--output", format, "table, json, yaml, csv or md")
      ->check([formats](const std::string& word) -> std::string {
        if (std::find(formats.begin(), formats.end(), word) != formats.end()) return "";
        throw Error(ErrorCode::kUsage, fmt::format("no output format '{}'", printable(word)))
            .at("", "--output")
            .help(one_of(word, formats));
      });
}

std::vector<std::string> cards_like(const std::string& word,
                                    const std::vector<std::string>& names) {
  std::vector<std::string> out;
  if (word.size() < 2) return out;
  for (const std::string& name : names) {
    if (name == word) return {};
    if (name.rfind(word, 0) == 0) out.push_back(name);
  }
  return out;
}

}  // namespace vramplan::cli
