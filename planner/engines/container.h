#pragma once
// Container: what one container or compose service starts, with its environment and the files that
// its volumes hold, as far as the manifest says them.
#include <map>
#include <string>
#include <vector>

#include "modelcards/yaml.h"
#include "planner/engines/shell_script.h"

namespace vramplan {

/// Data of the ConfigMaps beside a manifest: name, then key, then text.
using ConfigMaps = std::map<std::string, std::map<std::string, std::string>>;

struct ContainerStart {
  EngineStep step;                           // no words: it starts no engine
  std::string version;                       // of its image, empty when the tag is no release
  std::map<std::string, std::string> files;  // path in the container, and text
};

/// The one container of a pod that starts an engine. `given` are variables that the cluster sets.
/// A container without a command starts what its image is known to start. Errors: kUsage when
/// several do; those of engine_step when none does and one could not be read.
ContainerStart start_of_pod(const YamlNode& spec, const ConfigMaps& maps, const Variables& given);
/// The same for the services of a compose file.
ContainerStart start_of_compose(const YamlNode& root);

/// A list of words, or a text that is split as a shell splits it. None for a missing key.
std::vector<std::string> words_at(const YamlNode& node, const char* key);
/// The environment of a Kubernetes container: values, those of ConfigMaps, unknown ones as marks.
Variables environment_of(const YamlNode& container, const ConfigMaps& maps, Variables known);

/// "0.9.1" of vllm/vllm-openai:v0.9.1, of the images that the engines publish; else empty.
std::string engine_version_of(const std::string& image);

}  // namespace vramplan
