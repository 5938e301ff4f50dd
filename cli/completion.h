#pragma once
// Completion: shell scripts generated from the program's own subcommands and flags, so that they
// cannot go out of date.
#include <string>

#include <CLI/CLI.hpp>

namespace vramplan::cli {

/// shell: bash, zsh or fish. Errors: kUsage.
std::string completion_script(const CLI::App& app, const std::string& shell);

}  // namespace vramplan::cli
