// Writing half of manifest.h.
#include "planner/engines/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>

#include "modelcards/yaml.h"

namespace vramplan {
namespace {

/// Lower-case letters, digits and dashes: a name Kubernetes accepts.
std::string resource_name(const std::string& model) {
  const std::size_t slash = model.rfind('/');
  std::string out;
  for (const char c : slash == std::string::npos ? model : model.substr(slash + 1)) {
    const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain || (!out.empty() && out.back() != '-')) out += plain ? lower : '-';
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "model" : out.substr(0, 50);
}

std::string image_of(const EngineSetup& setup, const ManifestNotes& notes) {
  if (!notes.image.empty()) return notes.image;
  switch (setup.id.kind) {
    case EngineKind::kVllm:
      return "vllm/vllm-openai:v" + setup.id.version;
    case EngineKind::kSglang:
      return "lmsysorg/sglang:v" + setup.id.version;
    case EngineKind::kTrtllm:
      return "nvcr.io/nvidia/tensorrt-llm/release:" + setup.id.version;
    case EngineKind::kLlamacpp:
      return "ghcr.io/ggml-org/llama.cpp:server-cuda-" + setup.id.version;
  }
  return "";
}

/// "max_model_len" for "--max-model-len".
std::string snake(const std::string& flag) {
  std::string out = flag.substr(flag.find_first_not_of('-'));
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

class Writer {
 public:
  Writer(const EngineSetup& setup, const ManifestNotes& notes)
      : s_(setup),
        notes_(notes),
        command_(command_of(setup, engine_table(setup.id))),
        ranks_(setup.tp * setup.pp) {}

  std::string run(ManifestKind kind) {
    header();
    switch (kind) {
      case ManifestKind::kCommand:
        out_ += shell_text(command_);
        break;
      case ManifestKind::kTrtllmConfig:
        trtllm();
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

  void header() {
    line(0, "# Written by {} from a plan of {} on {}.", notes_.program, printable(s_.model),
         printable(notes_.device));
    line(0, "# vramplan: engine={}@{} device={} card={:016x}", name_of(s_.id.kind), s_.id.version,
         printable(notes_.device), notes_.card_hash);
    if (s_.id.kind == EngineKind::kTrtllm) {
      line(0, "# trtllm-serve {} --config THIS_FILE", shell_quoted(printable(s_.model)));
    }
  }

  [[noreturn]] void refuse(const char* kind, const char* help) const {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a {} of {} is not written", kind, name_of(s_.id.kind)))
        .at("", "--engine")
        .help(help);
  }
  void refuse_trtllm(const char* kind) const {
    if (s_.id.kind != EngineKind::kTrtllm) return;
    refuse(kind, "TensorRT-LLM reads a configuration file: emit --engine trtllm, and mount it");
  }
  int devices_of_pod() const { return std::min(ranks_, notes_.devices_per_node); }

  /// Keys with dots are sections.
  void trtllm() {
    std::string section;
    for (const EngineFlag& flag : command_.flags) {
      const std::size_t dot = flag.name.find('.');
      if (dot == std::string::npos) {
        line(0, "{}: {}", flag.name, flag.value);
        continue;
      }
      if (flag.name.substr(0, dot) != section) {
        section = flag.name.substr(0, dot);
        line(0, "{}:", section);
      }
      const bool list = flag.name == "kv_cache_config.max_attention_window";
      line(2, "{}: {}", flag.name.substr(dot + 1), list ? "[" + flag.value + "]" : flag.value);
    }
  }

  void command_lists(int indent, const std::vector<EngineFlag>& more = {}) {
    line(indent, "command:");
    for (const std::string& word : command_.program) line(indent, "- {}", yaml_quoted(word));
    line(indent, "args:");
    std::vector<EngineFlag> flags = command_.flags;
    flags.insert(flags.end(), more.begin(), more.end());
    for (const EngineFlag& flag : flags) {
      line(indent, "- {}", yaml_quoted(flag.name));
      if (!flag.value.empty()) line(indent, "- {}", yaml_quoted(flag.value));
    }
  }

  /// One container with its devices, shared memory and a probe that waits for loading.
  void container(int indent, const std::vector<EngineFlag>& more = {}) {
    line(indent, "containers:");
    line(indent, "- name: engine");
    line(indent + 2, "image: {}", yaml_quoted(image_of(s_, notes_)));
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
    line(indent + 2, "volumeMounts:");
    line(indent + 2, "- name: dshm");
    line(indent + 4, "mountPath: /dev/shm");
    line(indent, "volumes:");
    line(indent, "- name: dshm");
    line(indent + 2, "emptyDir:");
    line(indent + 4, "medium: Memory");
    line(indent + 4, "sizeLimit: {}Gi", 8 * devices_of_pod());
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
    refuse_trtllm("Deployment");
    if (s_.nodes > 1) refuse("Deployment of several nodes", "emit --engine lws");
    const std::string name = resource_name(s_.model);
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

  void lws() {
    if (s_.id.kind != EngineKind::kVllm) refuse("LeaderWorkerSet", "emit it for vllm");
    line(0, "apiVersion: leaderworkerset.x-k8s.io/v1");
    line(0, "kind: LeaderWorkerSet");
    metadata(0, resource_name(s_.model));
    line(0, "spec:");
    line(2, "replicas: 1");
    line(2, "leaderWorkerTemplate:");
    line(4, "size: {}", s_.nodes);
    line(4, "restartPolicy: RecreateGroupOnPodRestart");
    const std::vector<EngineFlag> rank = {{"--node-rank", "$(LWS_WORKER_INDEX)"},
                                          {"--master-addr", "$(LWS_LEADER_ADDRESS)"}};
    line(4, "leaderTemplate:");
    line(6, "spec:");
    container(8, s_.nodes > 1 ? rank : std::vector<EngineFlag>{});
    line(4, "workerTemplate:");
    line(6, "spec:");
    std::vector<EngineFlag> worker = rank;
    worker.push_back({"--headless", ""});
    container(8, s_.nodes > 1 ? worker : std::vector<EngineFlag>{});
  }

  void kserve() {
    if (s_.id.kind != EngineKind::kVllm) refuse("LLMInferenceService", "emit it for vllm");
    line(0, "apiVersion: serving.kserve.io/v1alpha1");
    line(0, "kind: LLMInferenceService");
    metadata(0, resource_name(s_.model));
    line(0, "spec:");
    line(2, "model:");
    line(4, "uri: {}", yaml_quoted("hf://" + s_.model));
    line(4, "name: {}", yaml_quoted(s_.model));
    line(2, "replicas: 1");
    line(2, "parallelism:");
    line(4, "tensor: {}", s_.tp);
    line(4, "pipeline: {}", s_.pp);
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
    refuse_trtllm("compose file");
    if (s_.nodes > 1) refuse("compose file of several nodes", "emit --engine lws");
    line(0, "services:");
    line(2, "engine:");
    line(4, "image: {}", yaml_quoted(image_of(s_, notes_)));
    line(4, "labels:");
    line(6, "vramplan.device: {}", yaml_quoted(notes_.device));
    line(6, "vramplan.engine: {}",
         yaml_quoted(fmt::format("{}@{}", name_of(s_.id.kind), s_.id.version)));
    line(4, "entrypoint:");
    for (const std::string& word : command_.program) line(4, "- {}", yaml_quoted(word));
    line(4, "command:");
    for (const EngineFlag& flag : command_.flags) {
      line(4, "- {}", yaml_quoted(flag.name));
      if (!flag.value.empty()) line(4, "- {}", yaml_quoted(flag.value));
    }
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
  }
  return "?";
}

std::string write_manifest(ManifestKind kind, const EngineSetup& setup,
                           const ManifestNotes& notes) {
  return Writer(setup, notes).run(kind);
}

}  // namespace vramplan
