#include "planner/engines/manifest_documents.h"

#include <algorithm>
#include <array>

#include "modelcards/error.h"

namespace vramplan {
namespace {

constexpr std::size_t kMostDocuments = 64;

struct Piece {
  std::string text;
  std::size_t line = 0;  // lines of the file before it
};

bool is_mark(const std::string& line) {
  return line.rfind("---", 0) == 0 && (line.size() == 3 || line[3] == ' ' || line[3] == '\r');
}

/// Whether a document holds anything but comments.
bool says_something(const std::string& text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::size_t first = text.find_first_not_of(" \t\r", at);
    if (first < end && text[first] != '#') return true;
    at = end + 1;
  }
  return false;
}

std::vector<Piece> pieces(const std::string& text) {
  std::vector<Piece> out(1);
  std::size_t at = 0, line_count = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    const std::string line = text.substr(at, end - at);
    const bool bare = is_mark(line.substr(0, line.find('\n')));
    ++line_count;
    at = end;
    if (bare && line.find_first_not_of("- \t\r\n") == std::string::npos) {
      out.push_back({"", line_count});
    } else {
      out.back().text += line;
    }
  }
  std::erase_if(out, [](const Piece& piece) { return !says_something(piece.text); });
  return out;
}

bool starts_nothing(const std::string& kind) {
  constexpr std::array kKinds = {"Service",
                                 "Namespace",
                                 "Secret",
                                 "PersistentVolume",
                                 "ServiceAccount",
                                 "PersistentVolumeClaim",
                                 "Role",
                                 "RoleBinding",
                                 "ClusterRole",
                                 "Ingress",
                                 "HTTPRoute",
                                 "ClusterRoleBinding",
                                 "Gateway",
                                 "InferencePool",
                                 "HorizontalPodAutoscaler",
                                 "PodMonitor",
                                 "ServiceMonitor",
                                 "PodDisruptionBudget",
                                 "NetworkPolicy",
                                 "ScaledObject",
                                 "InferenceModel",
                                 "Route",
                                 "DestinationRule",
                                 "InferenceObjective",
                                 "StorageClass",
                                 "PriorityClass",
                                 "ResourceClaimTemplate",
                                 "EndpointSlice",
                                 "VirtualService",
                                 "PrometheusRule",
                                 "LimitRange",
                                 "ResourceQuota",
                                 "CustomResourceDefinition"};
  return std::find(kKinds.begin(), kKinds.end(), kind) != kKinds.end();
}

std::string kind_word(const YamlNode& root) {
  const bool named = root.is_map() && root.has("kind") && root.at("kind").is_scalar();
  return named ? root.at("kind").text() : "";
}

void add(const YamlNode& root, ManifestDocuments& out) {
  const std::string kind = kind_word(root);
  if (kind == "ConfigMap") {
    auto& map = out.maps[root.at("metadata").at("name").text()];
    if (!root.has("data")) return;
    for (const std::string& key : root.at("data").keys()) {
      map[key] = root.at("data").at(key).text();
    }
  } else if (kind == "List") {
    const YamlNode items = root.at("items");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (kind_word(items.at(i)) == "List") items.at(i).fail("a List inside a List");
      add(items.at(i), out);
    }
  } else if (!starts_nothing(kind)) {
    out.roots.push_back(root);
  }
}

}  // namespace

ManifestDocuments manifest_documents(const std::string& text, const std::string& file_name) {
  const std::vector<Piece> all = pieces(text);
  if (all.size() > kMostDocuments) {
    throw Error(ErrorCode::kBadYaml, "more than 64 documents")
        .at(file_name)
        .help("give the one that starts the engine, and its ConfigMap");
  }
  ManifestDocuments out;
  if (all.size() < 2) {
    const YamlNode root = YamlNode::parse(text, file_name);
    const std::string kind = kind_word(root);
    if (kind == "List") {
      add(root, out);
    } else {
      out.roots.push_back(root);
    }
    return out;
  }
  // Blank lines before a document give its errors the line of the file.
  for (const Piece& piece : all) {
    add(YamlNode::parse(std::string(piece.line, '\n') + piece.text, file_name), out);
  }
  return out;
}

}  // namespace vramplan
