#include "cli/this_machine.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "modelcards/library.h"

namespace vramplan::cli {
namespace {

constexpr const char* kThisMachine = "this-machine";
constexpr const char* kThisGpu = "this-gpu";
constexpr const char* kFallback = "cpu-generic";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

/// The path, or empty when the environment names no home.
std::string path_or_empty(const std::string& card) {
  std::string base = environment("XDG_DATA_HOME");
  if (base.empty()) {
    const std::string home = environment("HOME");
    if (home.empty()) return {};
    base = home + "/.local/share";
  }
  return base + "/vramplan/devices/" + card + ".yaml";
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return !path.empty() && std::filesystem::is_regular_file(path, ignored);
}

}  // namespace

namespace {

std::string path_of(const char* card) {
  std::string path = path_or_empty(card);
  if (path.empty()) {
    throw Error(ErrorCode::kFile, "neither XDG_DATA_HOME nor HOME is set")
        .help("name the file with --out");
  }
  return path;
}

}  // namespace

std::string this_machine_path() { return path_of(kThisMachine); }
std::string this_gpu_path() { return path_of(kThisGpu); }

namespace {

/// A card's name in other letters: "H100-SXM-80GB".
std::string card_name(const std::string& named) {
  std::string low = named;
  std::transform(low.begin(), low.end(), low.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::vector<std::string> cards = device_card_names();
  return std::find(cards.begin(), cards.end(), low) != cards.end() ? low : named;
}

}  // namespace

ChosenDevice choose_device(const std::string& asked) {
  const std::string named = card_name(asked);
  if (named == kThisGpu) {
    const std::string gpu = path_or_empty(kThisGpu);
    if (is_file(gpu)) return {gpu, device_card(gpu), std::nullopt};
    throw Error(ErrorCode::kUnknownName, "this machine's GPU has no device card yet")
        .at(gpu)
        .help("run 'vramplan calibrate --backend cuda' once");
  }
  const std::string calibrated = path_or_empty(kThisMachine);
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
