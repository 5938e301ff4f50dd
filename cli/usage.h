#pragma once
// Usage: help with examples first, and argument mistakes as the project's own errors. CLI11 has
// neither; it also knows no nearest flag names.
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "modelcards/error.h"

namespace vramplan::cli {

/// Prints description, then the footer (which holds the examples), then usage and options.
class ExamplesFirst final : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override;
};

/// Three lines of examples, each a command with a comment.
void set_examples(CLI::App& command, const std::vector<std::string>& lines);

/// kUsage or kUnknownName, with the nearest flag or subcommand as help.
Error usage_error(const CLI::App& app, const CLI::ParseError& error);

/// "did you mean json? one of: table json", the first half only when a choice is near.
std::string one_of(const std::string& word, const std::vector<std::string>& choices);

/// -o of commands that list: table, json, yaml, csv or md, into `format`.
void add_list_format(CLI::App& command, std::string& format);

/// Names that begin with `word` when it is no name itself ("qwen3" lists a family); else none, also
/// for paths and words of one letter.
std::vector<std::string> cards_like(const std::string& word, const std::vector<std::string>& names);

/// The flags of a command, long names with dashes, without the hidden ones.
std::vector<std::string> flag_names(const CLI::App& command);
/// The subcommands that are listed (hidden ones have an empty group).
std::vector<const CLI::App*> listed_subcommands(const CLI::App& app);

}  // namespace vramplan::cli
