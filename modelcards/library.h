#pragma once
// Library: the card files that ship with the program, embedded at build time so that the binary
// stands alone, plus cards given as paths.
#include <string>
#include <vector>

#include "modelcards/device_card.h"
#include "modelcards/model_card.h"
#include "modelcards/nearest_names.h"

namespace vramplan {

std::vector<std::string> model_card_names();  // sorted
std::vector<std::string> device_card_names();
/// Errors: kUnknownName with the nearest names.
ModelCard model_card(const std::string& name);
/// A card name, or the path of a card file (ends in .yaml).
DeviceCard device_card(const std::string& name_or_path);

}  // namespace vramplan
