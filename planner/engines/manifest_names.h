#pragma once
// Manifest names: how words of a setup are spelt in a manifest.
#include <string>

#include "planner/engines/command.h"

namespace vramplan {

/// Lower-case letters, digits and dashes: a name Kubernetes accepts.
std::string resource_name(const std::string& model);
/// `asked`, or the image that the engine's project publishes for that version.
std::string image_of(const EngineSetup& setup, const std::string& asked);
/// "max_model_len" for "--max-model-len".
std::string snake(const std::string& flag);
/// Kubelets and compose read "$$" as one "$" and fill in what begins with one.
std::string dollars_kept(const std::string& word);

}  // namespace vramplan
