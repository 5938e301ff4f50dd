#include "cli/tolerance_options.h"

#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "modelcards/library.h"

namespace vramplan::cli {
namespace {

/// The shares that can be set, by the word on the command line.
std::vector<std::pair<std::string, double*>> shares(Tolerances& tolerances) {
  return {{"activations", &tolerances.activations},
          {"process", &tolerances.process},
          {"process-under", &tolerances.process_under},
          {"decode", &tolerances.decode},
          {"prefill", &tolerances.prefill}};
}

void set_tolerance(Tolerances& tolerances, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  const std::string name = assignment.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : assignment.substr(equals + 1);
  if (name == "process-floor") {
    tolerances.process_floor = parse_bytes(value, "--tolerance process-floor");
    return;
  }
  std::vector<std::string> names{"process-floor"};
  for (const auto& [word, share] : shares(tolerances)) {
    names.push_back(word);
    if (word != name) continue;
    double number = 0;
    const auto [end, status] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (status != std::errc() || end != value.data() + value.size() || !(number >= 0) ||
        number > 100) {
      throw Error(ErrorCode::kUsage,
                  fmt::format("--tolerance {} needs a share such as 0.05, not '{}'", name,
                              printable(value)))
          .at("", "--tolerance");
    }
    *share = number;
    return;
  }
  Error error(ErrorCode::kUsage, fmt::format("there is no tolerance '{}'", printable(name)));
  error.at("", "--tolerance");
  const auto nearest = nearest_names(name, names);
  error.help(nearest.empty() ? fmt::format("one of: {}", fmt::join(names, " "))
                             : fmt::format("did you mean {}?", nearest.front()));
  throw error;
}

}  // namespace

void add_tolerance_flags(CLI::App& command, ToleranceOptions& options) {
  constexpr const char* kGroup = "Verdict";
  command.add_flag("--gate-times", options.gate_times, "times out of tolerance fail, too")
      ->group(kGroup);
  command
      .add_option(
          "--tolerance", options.tolerances,
          "NAME=SHARE: activations process process-under decode prefill; process-floor=BYTES")
      ->take_all()
      ->expected(1)
      ->group(kGroup);
}

Tolerances tolerances_of(const ToleranceOptions& options) {
  Tolerances tolerances;
  tolerances.gate_times = options.gate_times;
  for (const auto& assignment : options.tolerances) set_tolerance(tolerances, assignment);
  return tolerances;
}

}  // namespace vramplan::cli
