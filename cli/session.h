#pragma once
// Session: what one start of the program knows: the streams, whether people or machines read them,
// and the command the arguments chose. Parsing fills `command`; main runs it.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vramplan::cli {

/// Exit codes that are answers, not errors (errors have theirs in modelcards/error.h).
inline constexpr int kExitFits = 0;
inline constexpr int kExitInternal = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitDoesNotFit = 3;
inline constexpr int kExitRegression = 4;
inline constexpr int kExitOutOfTolerance = 5;

struct Session {
  bool json = false;             // results as one JSON object on stdout, errors too
  std::function<int()> command;  // set by the subcommand's callback
};

/// Results. Everything else goes to stderr. Errors: kIo when stdout cannot be written.
void print_result(const std::string& text);
/// Writes a file next to its final name and renames it, so that a reader never sees half of one.
/// Errors: kFile naming the path.
void write_file(const std::string& path, const std::string& text);

}  // namespace vramplan::cli
