// Reading half of manifest.h: the setup that a text describes.
#include <fmt/format.h>

#include <algorithm>

#include "planner/engines/chart_values.h"
#include "planner/engines/flag_value.h"
#include "planner/engines/manifest.h"
#include "planner/engines/manifest_documents.h"
#include "planner/engines/manifest_pods.h"

namespace vramplan {
namespace {

/// "# vramplan: engine=vllm@0.19.0 device=h100-sxm-80gb": what a header of ours says.
std::string note(const std::string& text, const std::string& key) {
  const std::size_t line = text.find("# vramplan: ");
  if (line == std::string::npos) return "";
  const std::string words = text.substr(line, text.find('\n', line) - line);
  const std::size_t at = words.find(" " + key + "=");
  if (at == std::string::npos) return "";
  const std::size_t begin = at + key.size() + 2;
  return words.substr(begin, words.find(' ', begin) - begin);
}

/// The model of "# trtllm-serve MODEL --config THIS_FILE".
std::string trtllm_model(const std::string& text) {
  const std::string mark = "# trtllm-serve ";
  const std::size_t at = text.find(mark);
  if (at == std::string::npos) return "";
  const std::size_t begin = at + mark.size();
  const auto words = shell_words(text.substr(begin, text.find('\n', begin) - begin));
  return words.empty() ? "" : words.front();
}

/// "[512, 512, 8192]" as the flag's value "512,512,8192".
std::string listed(const YamlNode& list) {
  std::string out;
  for (std::size_t i = 0; i < list.size(); ++i) out += (i > 0 ? "," : "") + list.at(i).text();
  return out;
}

class Linter {
 public:
  Linter(const std::string& text, const std::string& file, const std::string& version)
      : text_(text), file_(file), version_(version) {
    const std::string engine = note(text, "engine");
    if (version_.empty() && !engine.empty()) version_ = parse_engine(engine).version;
  }

  LintedManifest run() {
    out_.device = note(text_, "device");
    if (looks_like_command()) {
      ContainerStart start;
      start.step = engine_step(text_, {});
      command(start);
      return std::move(out_);
    }
    const ManifestDocuments documents = manifest_documents(text_, file_);
    for (const YamlNode& root : documents.roots) document(root, documents);
    if (!read_) fail_no_engine();
    return std::move(out_);
  }

 private:
  [[noreturn]] static void fail_no_engine() {
    throw Error(ErrorCode::kUsage, "the command starts no engine that is known here")
        .at("command line")
        .help(known_engines());
  }

  /// One document; one that starts no engine is passed over when others stand beside it.
  void document(const YamlNode& root, const ManifestDocuments& documents) {
    const ManifestKind kind = kind_of(root);
    check_manifest(kind, root);
    const std::string kept = version_;
    annotations(root);
    if (kind == ManifestKind::kTrtllmConfig || kind == ManifestKind::kRay) {
      one_only(root, kind);
      if (kind == ManifestKind::kRay) {
        ray(root.at("applications").at(0).at("args").at("llm_configs").at(0));
      } else {
        trtllm(root);
      }
      return;
    }
    const ContainerStart start = start_of(kind, root, documents.maps);
    if (start.step.words.empty()) {
      version_ = kept;
      return;
    }
    one_only(root, kind);
    command(start);
  }

  void one_only(const YamlNode& root, ManifestKind kind) {
    if (read_) root.fail("more than one document starts an engine", "give the one to predict");
    read_ = true;
    out_.kind = kind;
  }

  /// The first line that is no comment starts a program rather than a map.
  bool looks_like_command() const {
    std::size_t at = 0;
    while (at < text_.size()) {
      const std::size_t end = std::min(text_.find('\n', at), text_.size());
      const std::string line = text_.substr(at, end - at);
      at = end + 1;
      const std::size_t first = line.find_first_not_of(" \t\r");
      if (first == std::string::npos || line[first] == '#' || line[first] == '%') continue;
      if (line.rfind("---", 0) == 0) return false;
      std::string word = line.substr(first, line.find_first_of(" \t\r", first) - first);
      return word.back() != ':' && word != "-" && word.front() != '{';
    }
    return true;
  }

  void command(const ContainerStart& start) {
    if (version_.empty()) version_ = start.version;
    EngineCommand parsed = parse_command(start.step.words, version_, start.step.environment);
    const EngineTable table = engine_table(parsed.id);
    if (parsed.id.kind == EngineKind::kTrtllm) read_config(parsed, start);
    out_.setup = setup_of(parsed, table);
    if (parsed.id.version.empty()) out_.setup.id.version = table.version;
  }

  /// The keys of the file behind --config, which must be in the manifest; the file is read after
  /// the flags, and a key of both must say the same.
  void read_config(EngineCommand& parsed, const ContainerStart& start) const {
    const auto config = std::find_if(parsed.flags.begin(), parsed.flags.end(),
                                     [](const EngineFlag& f) { return f.name == "--config"; });
    if (config == parsed.flags.end()) return;
    const std::string path = config->value;
    const auto file = start.files.find(path);
    if (file == start.files.end()) {
      throw Error(ErrorCode::kUsage,
                  fmt::format("--config {}: that file is not in here", printable(path)))
          .at("command line", "--config")
          .help("put its ConfigMap (compose: configs with content) beside it, or lint the file");
    }
    parsed.flags.erase(config);
    for (EngineFlag& key : config_keys(YamlNode::parse(file->second, path))) {
      const auto same = [&](const EngineFlag& f) {
        return f.name == key.name && f.value != key.value;
      };
      if (std::any_of(parsed.flags.begin(), parsed.flags.end(), same)) {
        throw Error(ErrorCode::kUsage,
                    fmt::format("{} is said twice, by a flag and by {}", key.name, printable(path)))
            .at("command line", key.name)
            .help("leave one of them");
      }
      parsed.flags.push_back(std::move(key));
    }
  }

  void annotations(const YamlNode& root) {
    if (!root.has("metadata") || !root.at("metadata").has("annotations")) return;
    const YamlNode notes = root.at("metadata").at("annotations");
    if (notes.has("vramplan/device")) out_.device = notes.at("vramplan/device").text();
    if (version_.empty() && notes.has("vramplan/engine")) {
      version_ = parse_engine(notes.at("vramplan/engine").text()).version;
    }
  }

  static ContainerStart start_of(ManifestKind kind, const YamlNode& root, const ConfigMaps& maps) {
    switch (kind) {
      case ManifestKind::kDeployment:
      case ManifestKind::kPods:
        return start_of_pod(pod_of(root), maps, {});
      case ManifestKind::kLws: {
        const YamlNode group = root.at("spec").at("leaderWorkerTemplate");
        const char* leader = group.has("leaderTemplate") ? "leaderTemplate" : "workerTemplate";
        // The one variable of the group whose value the manifest says.
        return start_of_pod(group.at(leader).at("spec"), maps,
                            {{"LWS_GROUP_SIZE", group.at("size").text()}});
      }
      case ManifestKind::kKserve:
        return start_of_kserve(root, maps);
      case ManifestKind::kServingRuntime:
        return start_of_pod(root.at("spec"), maps, {});
      case ManifestKind::kCompose:
        return start_of_compose(root);
      case ManifestKind::kChart:
        return start_of_chart(chart_kind(root), root);
      case ManifestKind::kRay:
      case ManifestKind::kTrtllmConfig:
      case ManifestKind::kCommand:
        break;
    }
    return {};
  }

  void ray(const YamlNode& config) {
    const YamlNode loading = config.at("model_loading_config");
    ContainerStart start;
    start.step.words = {"vllm", "serve",
                        loading.text_or("model_source", loading.at("model_id").text())};
    const YamlNode kwargs = config.at("engine_kwargs");
    const EngineTable table = engine_table({EngineKind::kVllm, version_});
    for (const std::string& key : kwargs.keys()) {
      std::string flag = "--" + key;
      std::replace(flag.begin(), flag.end(), '_', '-');
      const std::string value = kwargs.at(key).text();
      if (value == "false") continue;
      const TableFlag* known = table.flag(flag);
      if (known != nullptr && plain_value(value, *known) != value) {
        kwargs.at(key).fail("a keyword takes no suffix, only the flag does",
                            "write " + plain_value(value, *known));
      }
      start.step.words.push_back(flag);
      if (value != "true") start.step.words.push_back(value);
    }
    command(start);
  }

  /// Keys of a TensorRT-LLM configuration; those of a section with its name before them.
  static std::vector<EngineFlag> config_keys(const YamlNode& root) {
    std::vector<EngineFlag> keys;
    for (const std::string& key : root.keys()) {
      const YamlNode value = root.at(key);
      if (!value.is_map()) {
        keys.push_back({key, value.text()});
        continue;
      }
      for (const std::string& inner : value.keys()) {
        const YamlNode field = value.at(inner);
        keys.push_back({key + "." + inner, field.is_list() ? listed(field) : field.text()});
      }
    }
    return keys;
  }

  void trtllm(const YamlNode& root) {
    EngineCommand parsed;
    parsed.id = {EngineKind::kTrtllm, version_};
    parsed.program = {"trtllm-serve", trtllm_model(text_)};
    parsed.flags = config_keys(root);
    const EngineTable table = engine_table(parsed.id);
    out_.setup = setup_of(parsed, table);
    if (version_.empty()) out_.setup.id.version = table.version;
    const std::string nodes = note(text_, "nodes");
    const bool count = !nodes.empty() && nodes.size() < 6 &&
                       nodes.find_first_not_of("0123456789") == std::string::npos;
    if (count) out_.setup.nodes = std::max(1, std::stoi(nodes));
  }

  const std::string& text_;
  const std::string& file_;
  std::string version_;
  bool read_ = false;
  LintedManifest out_;
};

}  // namespace

LintedManifest read_manifest(const std::string& text, const std::string& file_name,
                             const std::string& version) {
  return Linter(text, file_name, version).run();
}

}  // namespace vramplan
