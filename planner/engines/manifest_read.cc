// Reading half of manifest.h: which kind a text is, whether its structure is sound, and the setup
// it describes.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "modelcards/nearest_names.h"
#include "planner/engines/manifest.h"

namespace vramplan {
namespace {

/// A field of a manifest: its path ("*" for every item of a list), and what stands there.
struct Field {
  const char* path;
  const char* type;  // map list text integer any
  bool required;
};
/// Fields not listed under a listed map are refused.
constexpr Field kContainerFields[] = {
    {"name", "text", true},          {"image", "text", true},     {"command", "list", false},
    {"args", "list", true},          {"ports", "list", false},    {"resources", "map", true},
    {"resources.limits", "map", true}, {"resources.limits.nvidia.com/gpu", "text", true},
    {"resources.limits.memory", "text", false}, {"resources.requests", "any", false},
    {"startupProbe", "any", false},  {"readinessProbe", "any", false},
    {"livenessProbe", "any", false}, {"volumeMounts", "list", false}, {"env", "list", false},
    {"imagePullPolicy", "text", false}, {"securityContext", "any", false}};
constexpr Field kPodFields[] = {
    {"containers", "list", true},    {"volumes", "list", false},  {"nodeSelector", "any", false},
    {"tolerations", "list", false},  {"imagePullSecrets", "list", false},
    {"serviceAccountName", "text", false}, {"hostIPC", "any", false}, {"affinity", "any", false},
    {"initContainers", "list", false}, {"restartPolicy", "text", false}};
constexpr Field kDeploymentFields[] = {
    {"apiVersion", "text", true},    {"kind", "text", true},      {"metadata", "map", true},
    {"metadata.name", "text", true}, {"metadata.annotations", "any", false},
    {"metadata.labels", "any", false}, {"metadata.namespace", "text", false},
    {"spec", "map", true},           {"spec.replicas", "integer", false},
    {"spec.strategy", "any", false}, {"spec.selector", "map", true},
    {"spec.selector.matchLabels", "map", true}, {"spec.selector.matchLabels.app", "any", false},
    {"spec.template", "any", true}};
constexpr Field kLwsFields[] = {
    {"apiVersion", "text", true},    {"kind", "text", true},      {"metadata", "map", true},
    {"metadata.name", "text", true}, {"metadata.annotations", "any", false},
    {"metadata.labels", "any", false}, {"metadata.namespace", "text", false},
    {"spec", "map", true},           {"spec.replicas", "integer", true},
    {"spec.leaderWorkerTemplate", "map", true},
    {"spec.leaderWorkerTemplate.size", "integer", true},
    {"spec.leaderWorkerTemplate.restartPolicy", "text", false},
    {"spec.leaderWorkerTemplate.leaderTemplate", "any", false},
    {"spec.leaderWorkerTemplate.workerTemplate", "any", true}};
constexpr Field kKserveFields[] = {
    {"apiVersion", "text", true},    {"kind", "text", true},      {"metadata", "map", true},
    {"metadata.name", "text", true}, {"metadata.annotations", "any", false},
    {"metadata.labels", "any", false}, {"metadata.namespace", "text", false},
    {"spec", "map", true},           {"spec.model", "map", true},
    {"spec.model.uri", "text", true}, {"spec.model.name", "text", false},
    {"spec.model.lora", "any", false}, {"spec.replicas", "integer", false},
    {"spec.scaling", "any", false},  {"spec.parallelism", "map", false},
    {"spec.parallelism.tensor", "integer", false}, {"spec.parallelism.pipeline", "integer", false},
    {"spec.parallelism.data", "integer", false}, {"spec.parallelism.dataLocal", "integer", false},
    {"spec.parallelism.dataRPCPort", "integer", false}, {"spec.parallelism.expert", "any", false},
    {"spec.template", "any", false}, {"spec.worker", "any", false}, {"spec.prefill", "any", false},
    {"spec.router", "any", false},   {"spec.baseRefs", "any", false}};
constexpr Field kComposeFields[] = {
    {"image", "text", true},         {"labels", "any", false},    {"entrypoint", "list", false},
    {"command", "list", true},       {"ports", "list", false},    {"ipc", "text", false},
    {"deploy", "any", false},        {"environment", "any", false}, {"volumes", "list", false},
    {"shm_size", "any", false},      {"restart", "text", false},  {"container_name", "text", false}};
constexpr Field kRayFields[] = {
    {"model_loading_config", "map", true}, {"model_loading_config.model_id", "text", true},
    {"model_loading_config.model_source", "text", false}, {"accelerator_type", "text", false},
    {"engine_kwargs", "any", true},  {"deployment_config", "any", false},
    {"placement_group_config", "any", false}};

template <std::size_t N>
std::vector<std::string> children_of(const Field (&fields)[N], const std::string& parent) {
  std::vector<std::string> names;
  const std::string prefix = parent.empty() ? "" : parent + ".";
  for (const Field& field : fields) {
    const std::string path = field.path;
    if (path.rfind(prefix, 0) != 0) continue;
    const std::string rest = path.substr(prefix.size());
    const bool gpu = rest == "nvidia.com/gpu";
    if (gpu || rest.find('.') == std::string::npos) names.push_back(rest);
  }
  return names;
}

void check_type(const YamlNode& node, const Field& field) {
  const std::string type = field.type;
  if (type == "map" && !node.is_map()) node.fail("a map belongs here");
  if (type == "list" && !node.is_list()) node.fail("a list belongs here");
  if (type == "text") node.text();
  if (type == "integer") node.integer(0, std::int64_t{1} << 40);
}

template <std::size_t N>
void check_fields(const YamlNode& node, const Field (&fields)[N], const std::string& parent = "") {
  const std::vector<std::string> names = children_of(fields, parent);
  node.allow_only(names);
  for (const std::string& name : names) {
    const std::string path = parent.empty() ? name : parent + "." + name;
    const auto field = std::find_if(std::begin(fields), std::end(fields),
                                    [&](const Field& f) { return path == f.path; });
    if (!node.has(name)) {
      if (field->required) node.fail(fmt::format("'{}' is missing", name));
      continue;
    }
    const YamlNode child = node.at(name);
    check_type(child, *field);
    if (std::strcmp(field->type, "map") == 0) check_fields(child, fields, path);
  }
}

/// Numbers among arguments must be quoted: Helm and other tools reformat plain ones (1.048576e+06).
void check_words(const YamlNode& list) {
  for (std::size_t i = 0; i < list.size(); ++i) list.at(i).text();
}

void check_pod(const YamlNode& spec) {
  check_fields(spec, kPodFields);
  const YamlNode containers = spec.at("containers");
  if (containers.size() == 0) containers.fail("no container");
  for (std::size_t i = 0; i < containers.size(); ++i) {
    check_fields(containers.at(i), kContainerFields);
    check_words(containers.at(i).at("args"));
  }
}

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
    command(words);
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
        parsed.flags.push_back({key + "." + inner, value.at(inner).text()});
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
      .help("known: Deployment, LeaderWorkerSet, LLMInferenceService, compose, Ray Serve, a "
            "TensorRT-LLM configuration, or a command line");
}

void check_manifest(ManifestKind kind, const YamlNode& root) {
  switch (kind) {
    case ManifestKind::kDeployment:
      check_fields(root, kDeploymentFields);
      check_pod(root.at("spec").at("template").at("spec"));
      break;
    case ManifestKind::kLws: {
      check_fields(root, kLwsFields);
      const YamlNode group = root.at("spec").at("leaderWorkerTemplate");
      if (group.has("leaderTemplate")) check_pod(group.at("leaderTemplate").at("spec"));
      check_pod(group.at("workerTemplate").at("spec"));
      break;
    }
    case ManifestKind::kKserve:
      check_fields(root, kKserveFields);
      if (root.at("spec").has("replicas") && root.at("spec").has("scaling")) {
        root.at("spec").fail("replicas and scaling exclude each other");
      }
      if (root.at("spec").has("template")) check_pod(root.at("spec").at("template"));
      break;
    case ManifestKind::kRay: {
      root.allow_only({"applications", "http_options", "proxy_location", "logging_config"});
      const YamlNode app = root.at("applications").at(0);
      app.allow_only({"name", "route_prefix", "import_path", "args", "runtime_env"});
      if (app.at("import_path").text() != "ray.serve.llm:build_openai_app") {
        app.at("import_path").fail("another application than ray.serve.llm:build_openai_app");
      }
      app.at("args").allow_only({"llm_configs"});
      check_fields(app.at("args").at("llm_configs").at(0), kRayFields);
      break;
    }
    case ManifestKind::kCompose: {
      root.allow_only({"services", "volumes", "networks", "name", "version"});
      const YamlNode services = root.at("services");
      if (services.keys().empty()) services.fail("no service");
      check_fields(services.at(services.keys().front()), kComposeFields);
      check_words(services.at(services.keys().front()).at("command"));
      break;
    }
    case ManifestKind::kTrtllmConfig:
    case ManifestKind::kCommand:
      break;  // their keys and flags are checked against the engine's table
  }
}

LintedManifest read_manifest(const std::string& text, const std::string& file_name,
                             const std::string& version) {
  return Linter(text, file_name, version).run();
}

}  // namespace vramplan
