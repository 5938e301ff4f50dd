#include "planner/served_release.h"

#include <cstring>
#include <map>
#include <tuple>

#include "modelcards/error.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

constexpr double kLeast = 0.05, kMost = 20;

struct Releases {
  std::map<std::tuple<std::string, std::string, std::string, std::string>, double> prompts;
  std::map<std::pair<std::string, std::string>, double> hosts;
};

Releases read_releases() {
  const char* text = nullptr;
  for (const EmbeddedTable* table = kEngineTables; table->name != nullptr; ++table) {
    if (std::strcmp(table->name, "served") == 0) text = table->text;
  }
  VRAMPLAN_CHECK(text != nullptr);
  const YamlNode root = YamlNode::parse(text, "served.yaml");
  root.allow_only({"source", "prompts", "hosts"});
  Releases out;
  const YamlNode prompts = root.at("prompts"), hosts = root.at("hosts");
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const YamlNode node = prompts.at(i);
    node.allow_only({"engine", "release", "device", "format", "factor"});
    out.prompts[{node.at("engine").text(), node.at("release").text(), node.at("device").text(),
                 node.at("format").text()}] = node.at("factor").real(kLeast, kMost);
  }
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    const YamlNode node = hosts.at(i);
    node.allow_only({"engine", "release", "factor"});
    out.hosts[{node.at("engine").text(), node.at("release").text()}] =
        node.at("factor").real(kLeast, kMost);
  }
  return out;
}

/// "1.2.0rc6.post3" -> "1.2.0rc6": a post release is the same code packed again.
std::string without_post(const std::string& release) {
  return release.substr(0, release.find(".post"));
}

/// The entry of `release`, or of another packing of the same code; null without either.
/// `key_of`: the key of a release's name.
template <class Map, class KeyOf>
const double* find_release(const Map& map, const std::string& release, KeyOf key_of) {
  const auto exact = map.find(key_of(release));
  if (exact != map.end()) return &exact->second;
  for (const auto& [key, factor] : map) {
    const std::string& name = std::get<1>(key);
    if (without_post(name) == without_post(release) && key == key_of(name)) return &factor;
  }
  return nullptr;
}

}  // namespace

ReleaseFactors release_factors(EngineKind engine, const std::string& release,
                               const std::string& device, Quantization format) {
  static const Releases kReleases = read_releases();
  const std::string name = name_of(engine), stored = name_of(format);
  ReleaseFactors out;
  out.measured = kReleases.prompts.count({name, release, device, stored}) > 0;
  const double* prompt = find_release(kReleases.prompts, release, [&](const std::string& other) {
    return std::tuple(name, other, device, stored);
  });
  const double* host = find_release(
      kReleases.hosts, release, [&](const std::string& other) { return std::pair(name, other); });
  if (prompt != nullptr) out.prompt = *prompt;
  if (host != nullptr) out.host = *host;
  return out;
}

}  // namespace vramplan
