#include "cli/this_machine.h"

#include <cstdlib>
#include <filesystem>

#include "modelcards/library.h"

namespace vramplan::cli {
namespace {

constexpr const char* kThisMachine = "this-machine";
constexpr const char* kFallback = "cpu-generic";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

/// The path, or empty when the environment names no home.
std::string path_or_empty() {
  std::string base = environment("XDG_DATA_HOME");
  if (base.empty()) {
    const std::string home = environment("HOME");
    if (home.empty()) return {};
    base = home + "/.local/share";
  }
  return base + "/vramplan/devices/" + kThisMachine + ".yaml";
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return !path.empty() && std::filesystem::is_regular_file(path, ignored);
}

}  // namespace

std::string this_machine_path() {
  std::string path = path_or_empty();
  if (path.empty()) {
    throw Error(ErrorCode::kFile, "neither XDG_DATA_HOME nor HOME is set")
        .help("name the file with --out");
  }
  return path;
}

ChosenDevice choose_device(const std::string& named) {
  const std::string calibrated = path_or_empty();
  if (named == kThisMachine && !is_file(calibrated)) {
    throw Error(ErrorCode::kUnknownName, "this machine has no device card yet")
        .at(calibrated)
        .help("run 'vramplan calibrate' once");
  }
  if (!named.empty() && named != kThisMachine) return {named, device_card(named), std::nullopt};
  if (named == kThisMachine) return {calibrated, device_card(calibrated), std::nullopt};
  if (is_file(calibrated)) {
    return {calibrated, device_card(calibrated),
            Assumption{"device", "this machine, as calibrated in " + calibrated, "--device"}};
  }
  return {kFallback, device_card(kFallback),
          Assumption{"device",
                     std::string(kFallback) + " (this machine is not calibrated; run "
                                              "'vramplan calibrate')",
                     "--device"}};
}

}  // namespace vramplan::cli
