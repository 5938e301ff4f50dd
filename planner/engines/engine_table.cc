#include "planner/engines/engine_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "modelcards/error.h"
#include "modelcards/nearest_names.h"
#include "modelcards/yaml.h"

namespace vramplan {
namespace {

constexpr double kMostNumber = 1e15;

/// Numbers of a version: "1.2.0rc6.post2" -> 1 2 0 -1 6 2: a candidate sorts before its release.
std::vector<std::int64_t> version_parts(const std::string& text) {
  std::vector<std::int64_t> parts;
  for (std::size_t i = 0; i < text.size();) {
    if (std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
      std::int64_t n = 0;
      for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])) != 0; ++i) {
        n = std::min<std::int64_t>(n * 10 + (text[i] - '0'), 1'000'000'000'000);
      }
      parts.push_back(n);
      continue;
    }
    if (text.compare(i, 2, "rc") == 0) parts.push_back(-1);
    ++i;
  }
  return parts;
}

const char* embedded(EngineKind kind) {
  for (const EmbeddedTable* table = kEngineTables; table->name != nullptr; ++table) {
    if (std::strcmp(table->name, name_of(kind)) == 0) return table->text;
  }
  throw Error(ErrorCode::kInternal, fmt::format("no data table for {}", name_of(kind)));
}

YamlNode parsed(EngineKind kind) {
  const YamlNode root = YamlNode::parse(embedded(kind), fmt::format("{}.yaml", name_of(kind)));
  root.allow_only({"engine", "versions"});
  return root;
}

std::vector<std::string> texts(const YamlNode& node, const char* key) {
  std::vector<std::string> out;
  if (!node.has(key)) return out;
  const YamlNode list = node.at(key);
  for (std::size_t i = 0; i < list.size(); ++i) out.push_back(list.at(i).text());
  return out;
}

void read_flag(const YamlNode& node, EngineTable& table) {
  node.allow_only({"name", "type", "choices", "aliases", "variable", "suffixes", "suffixes_since"});
  TableFlag flag;
  flag.name = node.at("name").text();
  flag.type = node.at("type").text();
  flag.choices = texts(node, "choices");
  flag.aliases = texts(node, "aliases");
  flag.variable = node.text_or("variable", "");
  flag.suffixes = node.text_or("suffixes", "");
  flag.suffixes_since = node.text_or("suffixes_since", "");
  const auto same = [&](const TableFlag& other) { return other.name == flag.name; };
  const auto old = std::find_if(table.flags.begin(), table.flags.end(), same);
  if (old == table.flags.end()) {
    table.flags.push_back(std::move(flag));
  } else {
    *old = std::move(flag);
  }
}

void read_version(const YamlNode& node, EngineTable& table) {
  node.allow_only({"version", "numbers", "flags", "gone"});
  table.version = node.at("version").text();
  if (node.has("numbers")) {
    const YamlNode numbers = node.at("numbers");
    for (const std::string& key : numbers.keys()) {
      const YamlNode entry = numbers.at(key);
      entry.allow_only({"value", "source"});
      table.numbers[key] = {entry.at("value").real(-kMostNumber, kMostNumber),
                            entry.at("source").text()};
    }
  }
  if (node.has("flags")) {
    const YamlNode flags = node.at("flags");
    for (std::size_t i = 0; i < flags.size(); ++i) read_flag(flags.at(i), table);
  }
  if (!node.has("gone")) return;
  const YamlNode gone = node.at("gone");
  for (const std::string& name : gone.keys()) {
    table.gone[name] = gone.at(name).text();
    std::erase_if(table.flags, [&](const TableFlag& flag) { return flag.name == name; });
  }
}

}  // namespace

const char* name_of(EngineKind kind) {
  switch (kind) {
    case EngineKind::kVllm:
      return "vllm";
    case EngineKind::kSglang:
      return "sglang";
    case EngineKind::kTrtllm:
      return "trtllm";
    case EngineKind::kLlamacpp:
      return "llamacpp";
  }
  return "?";
}

EngineId parse_engine(const std::string& text) {
  const std::size_t mark = text.find('@');
  const std::string name = text.substr(0, mark);
  std::string version = mark == std::string::npos ? "" : text.substr(mark + 1);
  if (!version.empty() && version.front() == 'v') version.erase(0, 1);
  if (mark != std::string::npos && version_parts(version).empty()) {
    throw Error(ErrorCode::kUsage, fmt::format("'{}' names no version", printable(text)))
        .at("", "--engine")
        .help("write the version as numbers, such as vllm@0.19.0 or llamacpp@b4370");
  }
  std::vector<std::string> names;
  for (const EngineKind kind : kEngineKinds) {
    if (name == name_of(kind)) return {kind, version};
    names.emplace_back(name_of(kind));
  }
  throw Error(ErrorCode::kUnknownName, fmt::format("no engine is called '{}'", printable(name)))
      .at("", "--engine")
      .help(did_you_mean(name, names));
}

int compare_versions(const std::string& a, const std::string& b) {
  std::vector<std::int64_t> x = version_parts(a), y = version_parts(b);
  const std::size_t size = std::max(x.size(), y.size());
  x.resize(size, 0);
  y.resize(size, 0);
  if (x == y) return 0;
  return x < y ? -1 : 1;
}

double EngineTable::number(const std::string& name) const {
  const auto found = numbers.find(name);
  if (found != numbers.end()) return found->second.value;
  throw Error(ErrorCode::kInternal,
              fmt::format("the table of {}@{} holds no number {}", name_of(kind), version, name));
}

const std::string& EngineTable::source(const std::string& name) const {
  number(name);
  return numbers.at(name).source;
}

const TableFlag* EngineTable::flag(const std::string& name) const {
  for (const TableFlag& entry : flags) {
    const bool alias =
        std::find(entry.aliases.begin(), entry.aliases.end(), name) != entry.aliases.end();
    if (entry.name == name || alias) return &entry;
  }
  return nullptr;
}

std::vector<std::string> EngineTable::flag_names() const {
  std::vector<std::string> names;
  for (const TableFlag& entry : flags) names.push_back(entry.name);
  return names;
}

std::vector<std::string> table_versions(EngineKind kind) {
  std::vector<std::string> out;
  const YamlNode versions = parsed(kind).at("versions");
  for (std::size_t i = 0; i < versions.size(); ++i) {
    out.push_back(versions.at(i).at("version").text());
  }
  return out;
}

EngineTable engine_table(const EngineId& id) {
  EngineTable table;
  table.kind = id.kind;
  const YamlNode versions = parsed(id.kind).at("versions");
  for (std::size_t i = 0; i < versions.size(); ++i) {
    const YamlNode node = versions.at(i);
    const bool later =
        !id.version.empty() && compare_versions(node.at("version").text(), id.version) > 0;
    if (later && i > 0) break;
    read_version(node, table);
  }
  // The oldest table also speaks for versions before it, which read fewer suffixes.
  for (TableFlag& flag : table.flags) {
    const bool older = !id.version.empty() && compare_versions(id.version, flag.suffixes_since) < 0;
    if (!flag.suffixes_since.empty() && older) {
      flag.suffixes.clear();
    } else {
      flag.suffixes_since.clear();
    }
  }
  table.nearest = !id.version.empty() && compare_versions(table.version, id.version) != 0;
  return table;
}

}  // namespace vramplan
