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

}  // namespace

ReleaseFactors release_factors(EngineKind engine, const std::string& release,
                               const std::string& device, Quantization format) {
  static const Releases kReleases = read_releases();
  ReleaseFactors out;
  const auto prompt = kReleases.prompts.find({name_of(engine), release, device, name_of(format)});
  out.measured = prompt != kReleases.prompts.end();
  if (out.measured) out.prompt = prompt->second;
  const auto host = kReleases.hosts.find({name_of(engine), release});
  if (host != kReleases.hosts.end()) out.host = host->second;
  return out;
}

}  // namespace vramplan
