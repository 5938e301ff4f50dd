#pragma once
// ManPage: the manual of the program in roff, made from the same flags as its help.
#include <string>

#include <CLI/CLI.hpp>

namespace vramplan::cli {

std::string man_page(const CLI::App& app, const std::string& version);

}  // namespace vramplan::cli
