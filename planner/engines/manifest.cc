// Writing half of manifest.h.
#include "planner/engines/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "modelcards/yaml.h"
#include "planner/engines/manifest_names.h"

namespace vramplan {
namespace {

/// Where a container finds TensorRT-LLM's configuration.
constexpr const char* kConfigFolder = "/etc/vramplan";
constexpr const char* kConfigFile = "trtllm.yaml";

class Writer {
 public:
  Writer(const EngineSetup& setup, const ManifestNotes& notes)
      : s_(setup),
        notes_(notes),
        command_(command_of(setup, engine_table(setup.id))),
        ranks_(setup.tp * setup.pp) {}

  std::string run(ManifestKind kind) {
    header(kind);
    switch (kind) {
      case ManifestKind::kCommand:
        if (s_.id.kind == EngineKind::kLlamacpp && s_.nodes > 1) {
          refuse("command over several nodes", "plan it on one node: no RPC servers are written");
        }
        out_ += shell_text(command_);
        break;
      case ManifestKind::kTrtllmConfig:
        config_keys(0);
        break;
      case ManifestKind::kDeployment:
        deployment();
        break;
      case ManifestKind::kLws:
        lws();
        break;
      case ManifestKind::kKserve:
        kserve();
        break;
      case ManifestKind::kRay:
        ray();
        break;
      case ManifestKind::kCompose:
        compose();
        break;
      case ManifestKind::kPods:
      case ManifestKind::kServingRuntime:
      case ManifestKind::kChart:
        throw Error(ErrorCode::kInternal, "a kind of manifest that is only read");
    }
    return std::move(out_);
  }

 private:
  template <class... Args>
  void line(int indent, fmt::format_string<Args...> format, Args&&... args) {
    out_.append(static_cast<std::size_t>(indent), ' ');
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  void header(ManifestKind kind) {
    line(0, "# Written by {} from a plan of {} on {}.", notes_.program, printable(s_.model),
         printable(notes_.device));
    line(0, "# vramplan: engine={}@{} device={} card={:016x}", name_of(s_.id.kind), s_.id.version,
         printable(notes_.device), notes_.card_hash);
    if (kind == ManifestKind::kTrtllmConfig) {
      // Nothing in the file itself counts nodes.
      if (s_.nodes > 1) out_.insert(out_.size() - 1, fmt::format(" nodes={}", s_.nodes));
      line(0, "# trtllm-serve {} --config THIS_FILE", shell_quoted(printable(s_.model)));
    }
  }

  [[noreturn]] void refuse(const char* kind, const char* help) const {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a {} of {} is not written", kind, name_of(s_.id.kind)))
        .at("", "--engine")
        .help(help);
  }
  bool reads_config() const { return s_.id.kind == EngineKind::kTrtllm; }
  /// One pod or service holds every rank.
  void refuse_several_nodes(const char* kind) const {
    if (s_.nodes < 2) return;
    if (reads_config()) refuse(kind, "over several nodes mpirun or srun starts its ranks");
    refuse(kind, "emit --engine lws");
  }
  int devices_of_pod() const { return std::min(ranks_, notes_.devices_per_node); }

  /// TensorRT-LLM's configuration; keys with dots are sections.
  void config_keys(int indent) {
    std::string section;
    for (const EngineFlag& flag : command_.flags) {
      const std::size_t dot = flag.name.find('.');
      if (dot == std::string::npos) {
        line(indent, "{}: {}", flag.name, flag.value);
        continue;
      }
      if (flag.name.substr(0, dot) != section) {
        section = flag.name.substr(0, dot);
        line(indent, "{}:", section);
      }
      const bool list = flag.name == "kv_cache_config.max_attention_window";
      line(indent + 2, "{}: {}", flag.name.substr(dot + 1),
           list ? "[" + flag.value + "]" : flag.value);
    }
  }
  /// The configuration as a ConfigMap, a document before the one that mounts it.
  void config_map(const std::string& name) {
    if (!reads_config()) return;
    line(0, "apiVersion: v1");
    line(0, "kind: ConfigMap");
    line(0, "metadata:");
    line(2, "name: {}-config", name);
    line(0, "data:");
    line(2, "{}: |", kConfigFile);
    config_keys(4);
    line(0, "---");
  }

  /// Flags of the command: TensorRT-LLM's are in its file, which 1.1 renamed the flag of.
  /// vLLM alone listens on every address and on 8000 by itself.
  std::vector<EngineFlag> flags() const {
    std::vector<EngineFlag> all = reads_config() ? config_flag() : command_.flags;
    if (s_.id.kind == EngineKind::kVllm) return all;
    all.insert(all.end(), {{"--host", "0.0.0.0"}, {"--port", "8000"}});
    return all;
  }
  std::vector<EngineFlag> config_flag() const {
    const bool old = compare_versions(s_.id.version, "1.1.0") < 0;
    return {{old ? "--extra_llm_api_options" : "--config",
             fmt::format("{}/{}", kConfigFolder, kConfigFile)}};
  }
  /// `more` holds variables that a kubelet fills in; what is ours keeps its "$".
  void command_lists(int indent, const std::vector<EngineFlag>& more = {}) {
    line(indent, "command:");
    for (const std::string& word : command_.program) {
      line(indent, "- {}", yaml_quoted(dollars_kept(word)));
    }
    line(indent, "args:");
    for (const EngineFlag& flag : flags()) argument(indent, flag.name, dollars_kept(flag.value));
    for (const EngineFlag& flag : more) argument(indent, flag.name, flag.value);
  }
  void argument(int indent, const std::string& name, const std::string& value) {
    line(indent, "- {}", yaml_quoted(name));
    if (!value.empty()) line(indent, "- {}", yaml_quoted(value));
  }

  /// One container with its devices, shared memory and a probe that waits for loading.
  void container(int indent, const std::vector<EngineFlag>& more = {},
                 const char* name = "engine") {
    line(indent, "containers:");
    line(indent, "- name: {}", name);
    line(indent + 2, "image: {}", yaml_quoted(image_of(s_, notes_.image)));
    command_lists(indent + 2, more);
    line(indent + 2, "ports:");
    line(indent + 2, "- containerPort: 8000");
    line(indent + 2, "resources:");
    line(indent + 4, "limits:");
    line(indent + 6, "nvidia.com/gpu: \"{}\"", devices_of_pod());
    if (notes_.host_memory.n > 0) line(indent + 6, "memory: \"{}\"", notes_.host_memory.n);
    line(indent + 2, "startupProbe:");
    line(indent + 4, "httpGet:");
    line(indent + 6, "path: /health");
    line(indent + 6, "port: 8000");
    line(indent + 4, "periodSeconds: 10");
    line(indent + 4, "failureThreshold: 180");
    volumes(indent);
  }
  void volumes(int indent) {
    line(indent + 2, "volumeMounts:");
    line(indent + 2, "- name: dshm");
    line(indent + 4, "mountPath: /dev/shm");
    if (reads_config()) {
      line(indent + 2, "- name: config");
      line(indent + 4, "mountPath: {}", kConfigFolder);
    }
    line(indent, "volumes:");
    line(indent, "- name: dshm");
    line(indent + 2, "emptyDir:");
    line(indent + 4, "medium: Memory");
    line(indent + 4, "sizeLimit: {}Gi", 8 * devices_of_pod());
    if (!reads_config()) return;
    line(indent, "- name: config");
    line(indent + 2, "configMap:");
    line(indent + 4, "name: {}-config", resource_name(s_.model));
  }

  void metadata(int indent, const std::string& name) {
    line(indent, "metadata:");
    line(indent + 2, "name: {}", name);
    line(indent + 2, "annotations:");
    line(indent + 4, "vramplan/device: {}", yaml_quoted(notes_.device));
    line(indent + 4, "vramplan/engine: {}",
         yaml_quoted(fmt::format("{}@{}", name_of(s_.id.kind), s_.id.version)));
  }

  void deployment() {
    refuse_several_nodes("Deployment over several nodes");
    const std::string name = resource_name(s_.model);
    config_map(name);
    line(0, "apiVersion: apps/v1");
    line(0, "kind: Deployment");
    metadata(0, name);
    line(0, "spec:");
    line(2, "replicas: 1");
    line(2, "selector:");
    line(4, "matchLabels:");
    line(6, "app: {}", name);
    line(2, "template:");
    line(4, "metadata:");
    line(6, "labels:");
    line(8, "app: {}", name);
    line(4, "spec:");
    container(6);
  }

  /// Flags by which a node finds its group; the variables are LeaderWorkerSet's.
  std::vector<EngineFlag> rank_flags() const {
    if (s_.nodes < 2) return {};
    const EngineFlag rank = {"--node-rank", "$(LWS_WORKER_INDEX)"};
    if (s_.id.kind == EngineKind::kSglang) {
      return {rank, {"--dist-init-addr", "$(LWS_LEADER_ADDRESS):20000"}};
    }
    return {rank, {"--master-addr", "$(LWS_LEADER_ADDRESS)"}};
  }

  void lws() {
    if (s_.id.kind == EngineKind::kLlamacpp) {
      refuse("LeaderWorkerSet", "emit it for vllm, sglang or trtllm");
    }
    if (reads_config()) refuse_several_nodes("LeaderWorkerSet over several nodes");
    config_map(resource_name(s_.model));
    line(0, "apiVersion: leaderworkerset.x-k8s.io/v1");
    line(0, "kind: LeaderWorkerSet");
    metadata(0, resource_name(s_.model));
    line(0, "spec:");
    line(2, "replicas: 1");
    line(2, "leaderWorkerTemplate:");
    line(4, "size: {}", s_.nodes);
    line(4, "restartPolicy: RecreateGroupOnPodRestart");
    line(4, "leaderTemplate:");
    line(6, "spec:");
    container(8, rank_flags());
    line(4, "workerTemplate:");
    line(6, "spec:");
    std::vector<EngineFlag> worker = rank_flags();
    if (s_.nodes > 1 && s_.id.kind == EngineKind::kVllm) worker.push_back({"--headless", ""});
    container(8, worker);
  }

  /// LLMInferenceService is vLLM's; the others are a container of an InferenceService.
  void kserve() {
    refuse_several_nodes("KServe service over several nodes");
    if (s_.id.kind == EngineKind::kVllm) return llm_inference_service();
    config_map(resource_name(s_.model));
    line(0, "apiVersion: serving.kserve.io/v1beta1");
    line(0, "kind: InferenceService");
    metadata(0, resource_name(s_.model));
    line(0, "spec:");
    line(2, "predictor:");
    line(4, "minReplicas: 1");
    line(4, "maxReplicas: 1");
    container(4, {}, "kserve-container");
  }
  void llm_inference_service() {
    line(0, "apiVersion: serving.kserve.io/v1alpha1");
    line(0, "kind: LLMInferenceService");
    metadata(0, resource_name(s_.model));
    line(0, "spec:");
    line(2, "model:");
    line(4, "uri: {}", yaml_quoted("hf://" + s_.model));
    line(4, "name: {}", yaml_quoted(s_.model));
    line(2, "replicas: 1");
    line(2, "parallelism:");
    line(4, "tensor: {}", s_.tp / s_.attention_dp);
    line(4, "pipeline: {}", s_.pp);
    if (s_.attention_dp > 1) line(4, "data: {}", s_.attention_dp);
    line(2, "template:");
    container(4);
  }

  void ray() {
    if (s_.id.kind != EngineKind::kVllm) refuse("Ray Serve application", "emit it for vllm");
    line(0, "applications:");
    line(0, "- name: {}", resource_name(s_.model));
    line(2, "route_prefix: /");
    line(2, "import_path: ray.serve.llm:build_openai_app");
    line(2, "args:");
    line(4, "llm_configs:");
    line(4, "- model_loading_config:");
    line(8, "model_id: {}", yaml_quoted(resource_name(s_.model)));
    line(8, "model_source: {}", yaml_quoted(s_.model));
    line(6, "engine_kwargs:");
    for (const EngineFlag& flag : command_.flags) {
      const TableFlag* known = engine_table(s_.id).flag(flag.name);
      const bool number = known->type == "integer" || known->type == "real";
      const bool block = flag.name == "--block-size";
      if (flag.value.empty()) {
        line(8, "{}: true", snake(flag.name));
      } else {
        line(8, "{}: {}", snake(flag.name), number || block ? flag.value : yaml_quoted(flag.value));
      }
    }
    line(6, "deployment_config:");
    line(8, "autoscaling_config:");
    line(10, "min_replicas: 1");
    line(10, "max_replicas: 1");
  }

  void compose() {
    refuse_several_nodes("compose file over several nodes");
    line(0, "services:");
    line(2, "engine:");
    line(4, "image: {}", yaml_quoted(image_of(s_, notes_.image)));
    line(4, "labels:");
    line(6, "vramplan.device: {}", yaml_quoted(notes_.device));
    line(6, "vramplan.engine: {}",
         yaml_quoted(fmt::format("{}@{}", name_of(s_.id.kind), s_.id.version)));
    line(4, "entrypoint:");
    for (const std::string& word : command_.program) {
      line(4, "- {}", yaml_quoted(dollars_kept(word)));
    }
    line(4, "command:");
    for (const EngineFlag& flag : flags()) argument(4, flag.name, dollars_kept(flag.value));
    line(4, "ports:");
    line(4, "- \"8000:8000\"");
    line(4, "ipc: host");
    line(4, "deploy:");
    line(6, "resources:");
    line(8, "reservations:");
    line(10, "devices:");
    line(10, "- driver: nvidia");
    line(12, "count: {}", ranks_);
    line(12, "capabilities: [gpu]");
    if (!reads_config()) return;
    line(4, "configs:");
    line(4, "- source: engine");
    line(6, "target: {}/{}", kConfigFolder, kConfigFile);
    line(0, "configs:");
    line(2, "engine:");
    line(4, "content: |");
    config_keys(6);
  }

  const EngineSetup& s_;
  const ManifestNotes& notes_;
  EngineCommand command_;
  int ranks_;
  std::string out_;
};

}  // namespace

const char* name_of(ManifestKind kind) {
  switch (kind) {
    case ManifestKind::kCommand:
      return "command";
    case ManifestKind::kTrtllmConfig:
      return "trtllm";
    case ManifestKind::kDeployment:
      return "k8s";
    case ManifestKind::kLws:
      return "lws";
    case ManifestKind::kKserve:
      return "kserve";
    case ManifestKind::kRay:
      return "ray";
    case ManifestKind::kCompose:
      return "compose";
    case ManifestKind::kPods:
      return "pods";
    case ManifestKind::kServingRuntime:
      return "servingruntime";
    case ManifestKind::kChart:
      return "chart";
  }
  return "?";
}

std::string write_manifest(ManifestKind kind, const EngineSetup& setup,
                           const ManifestNotes& notes) {
  return Writer(setup, notes).run(kind);
}

}  // namespace vramplan
