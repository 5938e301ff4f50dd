#pragma once
// Manifest documents: the YAML documents of one file, the ConfigMaps among them set apart.
#include <string>
#include <vector>

#include "planner/engines/container.h"

namespace vramplan {

struct ManifestDocuments {
  std::vector<YamlNode> roots;  // those that may start an engine
  ConfigMaps maps;
};

/// Documents between lines of "---", and the items of a List as "kubectl get" prints it. Kinds that
/// start nothing (Service, Secret, PersistentVolumeClaim, ...) are left out when other documents
/// stand beside them. Errors: kBadYaml with the line of the whole file; more than 64 documents.
ManifestDocuments manifest_documents(const std::string& text, const std::string& file_name);

}  // namespace vramplan
