#include "modelcards/library.h"

#include <algorithm>

#include "modelcards/embedded_cards.h"
#include "modelcards/file.h"
#include "modelcards/yaml_text.h"

namespace vramplan {
namespace {

std::vector<std::string> names_of(const EmbeddedCard* cards) {
  std::vector<std::string> names;
  for (; cards->name != nullptr; ++cards) names.emplace_back(cards->name);
  std::sort(names.begin(), names.end());
  return names;
}

const EmbeddedCard* find(const EmbeddedCard* cards, const std::string& name) {
  for (; cards->name != nullptr; ++cards) {
    if (name == cards->name) return cards;
  }
  return nullptr;
}

[[noreturn]] void unknown(const std::string& what, const std::string& name,
                          const std::vector<std::string>& names, const std::string& command) {
  const std::vector<std::string> near = nearest_names(name, names);
  throw Error(ErrorCode::kUnknownName, "there is no " + what + " named " + in_quotes(name))
      .help(near.empty() ? "list them with: vramplan " + command : did_you_mean(name, names));
}

bool ends_in_yaml(const std::string& path) {
  return path.size() > 5 && path.compare(path.size() - 5, 5, ".yaml") == 0;
}

}  // namespace

std::vector<std::string> model_card_names() { return names_of(kModelCards); }
std::vector<std::string> device_card_names() { return names_of(kDeviceCards); }

ModelCard model_card(const std::string& name) {
  const EmbeddedCard* card = find(kModelCards, name);
  if (card == nullptr) unknown("model card", name, model_card_names(), "models");
  return parse_model_card(card->text, name + ".yaml");
}

DeviceCard device_card(const std::string& name_or_path) {
  if (ends_in_yaml(name_or_path)) {
    const auto file = open_file(name_or_path);
    return parse_device_card(read_text(*file, 1_MiB), name_or_path);
  }
  const EmbeddedCard* card = find(kDeviceCards, name_or_path);
  if (card == nullptr) unknown("device card", name_or_path, device_card_names(), "devices");
  return parse_device_card(card->text, name_or_path + ".yaml");
}

}  // namespace vramplan
