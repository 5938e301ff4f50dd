#pragma once
// Cards as JSON: lists (schemas vramplan.models/1, vramplan.devices/1) and one card with its
// sources (vramplan.model/1, vramplan.device/1).
#include <string>
#include <vector>

#include "modelcards/device_card.h"
#include "modelcards/model_card.h"

namespace vramplan::cli {

std::string models_json(const std::vector<ModelCard>& cards);
std::string model_json(const ModelCard& card);
std::string devices_json(const std::vector<DeviceCard>& cards);
std::string device_json(const DeviceCard& card);

}  // namespace vramplan::cli
