// Reading half of manifest.h: which kind a text is, and the setup it describes.
#include <fmt/format.h>

#include <algorithm>

#include "modelcards/nearest_names.h"
#include "planner/engines/manifest.h"

namespace vramplan {
namespace {

std::vector<std::string> words_at(const YamlNode& node, const char* key) {
  std::vector<std::string> words;
  if (!node.has(key)) return words;
  const YamlNode list = node.at(key);
  for (std::size_t i = 0; i < list.size(); ++i) words.push_back(list.at(i).text());
  return words;
}

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

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
      command(shell_words(text_));
      return std::move(out_);
    }
    const YamlNode root = YamlNode::parse(text_, file_);
    out_.kind = kind_of(root);
    check_manifest(out_.kind, root);
    read(root);
    return std::move(out_);
  }

 private:
  /// The first line that is no comment starts a program rather than a map.
  bool looks_like_command() const {
    std::size_t at = 0;
    while (at < text_.size()) {
      const std::size_t end = std::min(text_.find('\n', at), text_.size());
      const std::string line = text_.substr(at, end - at);
      at = end + 1;
      const std::size_t first = line.find_first_not_of(" \t\r");
      if (first == std::string::npos || line[first] == '#' || line == "---") continue;
      const std::string word = line.substr(first, line.find_first_of(" \t\r", first) - first);
      return word.back() != ':' && word != "-";
    }
    return true;
  }

  void command(const std::vector<std::string>& words) {
    const EngineCommand parsed = parse_command(words, version_);
    out_.setup = setup_of(parsed, engine_table(parsed.id));
    if (version_.empty()) out_.setup.id.version = engine_table(parsed.id).version;
  }

  void pod(const YamlNode& spec) {
    const YamlNode container = spec.at("containers").at(0);
    std::vector<std::string> words =
        joined(words_at(container, "command"), words_at(container, "args"));
    if (!container.has("command")) {  // the image starts the engine
      if (container.at("image").text().find("vllm") == std::string::npos) {
        container.fail("no command, and the image is not known to start an engine");
      }
      words.insert(words.begin(), {"vllm", "serve"});
    }
    command(unwrapped(words));
  }

  /// The command of "/bin/sh -c COMMAND", which a shell would split.
  static std::vector<std::string> unwrapped(const std::vector<std::string>& words) {
    for (std::size_t i = 0; i + 2 < words.size(); ++i) {
      const std::string& word = words[i];
      const bool shell =
          word == "sh" || word == "bash" || word.ends_with("/sh") || word.ends_with("/bash");
      if (shell && (words[i + 1] == "-c" || words[i + 1] == "-lc")) {
        return shell_words(words[i + 2]);
      }
    }
    return words;
  }

  void annotations(const YamlNode& root) {
    if (!root.has("metadata") || !root.at("metadata").has("annotations")) return;
    const YamlNode notes = root.at("metadata").at("annotations");
    if (notes.has("vramplan/device")) out_.device = notes.at("vramplan/device").text();
    if (version_.empty() && notes.has("vramplan/engine")) {
      version_ = parse_engine(notes.at("vramplan/engine").text()).version;
    }
  }

  void read(const YamlNode& root) {
    annotations(root);
    switch (out_.kind) {
      case ManifestKind::kDeployment:
        return pod(root.at("spec").at("template").at("spec"));
      case ManifestKind::kLws: {
        const YamlNode group = root.at("spec").at("leaderWorkerTemplate");
        const char* leader = group.has("leaderTemplate") ? "leaderTemplate" : "workerTemplate";
        return pod(group.at(leader).at("spec"));
      }
      case ManifestKind::kKserve:
        pod(root.at("spec").at("template"));
        return;
      case ManifestKind::kRay:
        return ray(root.at("applications").at(0).at("args").at("llm_configs").at(0));
      case ManifestKind::kCompose: {
        const YamlNode services = root.at("services");
        const YamlNode service = services.at(services.keys().front());
        return command(joined(words_at(service, "entrypoint"), words_at(service, "command")));
      }
      case ManifestKind::kTrtllmConfig:
        return trtllm(root);
      case ManifestKind::kCommand:
        return;
    }
  }

  void ray(const YamlNode& config) {
    const YamlNode loading = config.at("model_loading_config");
    std::vector<std::string> words = {
        "vllm", "serve", loading.text_or("model_source", loading.at("model_id").text())};
    const YamlNode kwargs = config.at("engine_kwargs");
    for (const std::string& key : kwargs.keys()) {
      std::string flag = "--" + key;
      std::replace(flag.begin(), flag.end(), '_', '-');
      const std::string value = kwargs.at(key).text();
      if (value == "false") continue;
      words.push_back(flag);
      if (value != "true") words.push_back(value);
    }
    command(words);
  }

  void trtllm(const YamlNode& root) {
    EngineCommand parsed;
    parsed.id = {EngineKind::kTrtllm, version_};
    parsed.program = {"trtllm-serve", trtllm_model(text_)};
    for (const std::string& key : root.keys()) {
      const YamlNode value = root.at(key);
      if (!value.is_map()) {
        parsed.flags.push_back({key, value.text()});
        continue;
      }
      for (const std::string& inner : value.keys()) {
        const YamlNode field = value.at(inner);
        parsed.flags.push_back({key + "." + inner, field.is_list() ? listed(field) : field.text()});
      }
    }
    const EngineTable table = engine_table(parsed.id);
    out_.setup = setup_of(parsed, table);
    if (version_.empty()) out_.setup.id.version = table.version;
  }

  const std::string& text_;
  const std::string& file_;
  std::string version_;
  LintedManifest out_;
};

}  // namespace

ManifestKind kind_of(const YamlNode& root) {
  if (root.is_map() && root.has("kind") && root.at("kind").is_scalar()) {
    const std::string kind = root.at("kind").text();
    if (kind == "Deployment") return ManifestKind::kDeployment;
    if (kind == "LeaderWorkerSet") return ManifestKind::kLws;
    if (kind == "LLMInferenceService") return ManifestKind::kKserve;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a manifest of kind '{}' is not read", printable(kind)))
        .at("", "kind")
        .help(did_you_mean(kind, {"Deployment", "LeaderWorkerSet", "LLMInferenceService"}));
  }
  if (root.is_map() && root.has("services")) return ManifestKind::kCompose;
  if (root.is_map() && root.has("applications")) return ManifestKind::kRay;
  for (const char* key : {"tensor_parallel_size", "max_batch_size", "max_num_tokens", "max_seq_len",
                          "kv_cache_config"}) {
    if (root.is_map() && root.has(key)) return ManifestKind::kTrtllmConfig;
  }
  throw Error(ErrorCode::kUnsupported, "this is no manifest that is known here")
      .help(
          "known: Deployment, LeaderWorkerSet, LLMInferenceService, compose, Ray Serve, a "
          "TensorRT-LLM configuration, or a command line");
}

LintedManifest read_manifest(const std::string& text, const std::string& file_name,
                             const std::string& version) {
  return Linter(text, file_name, version).run();
}

}  // namespace vramplan
