#pragma once
// ThisMachine: where calibrate leaves this machine's device card, and which device a command means
// when none, or "this-machine", is named.
#include <optional>
#include <string>

#include "modelcards/device_card.h"
#include "planner/plan.h"

namespace vramplan::cli {

/// ${XDG_DATA_HOME:-$HOME/.local/share}/vramplan/devices/this-machine.yaml
/// Errors: kFile when neither variable is set.
std::string this_machine_path();
/// The same with this-gpu.yaml.
std::string this_gpu_path();

struct ChosenDevice {
  std::string name;  // goes into Decisions::device: a card name or a path
  DeviceCard card;
  std::optional<Assumption> assumption;  // set when nobody named a device
};

/// A named device ("this-machine", "this-gpu": the calibrated cards), or this machine's calibrated
/// card, or cpu-generic.
ChosenDevice choose_device(const std::string& named);

}  // namespace vramplan::cli
