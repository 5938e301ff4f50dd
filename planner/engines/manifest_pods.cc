#include "planner/engines/manifest_pods.h"

#include <fmt/format.h>

#include "modelcards/error.h"
#include "modelcards/nearest_names.h"
#include "planner/engines/chart_values.h"
#include "planner/engines/command.h"
#include "planner/engines/manifest.h"

namespace vramplan {
namespace {

std::string model_behind(const std::string& uri) {
  return uri.rfind("hf://", 0) == 0 ? uri.substr(5) : uri;
}

/// What the preset of an LLMInferenceService starts. Source: kserve
/// config/llmisvcconfig/config-llm-template.yaml: vllm serve, the model mounted, and
/// VLLM_ADDITIONAL_ARGS behind them.
ContainerStart preset(const YamlNode& spec, const ConfigMaps& maps) {
  std::string line = "vllm serve " + shell_quoted(model_behind(spec.at("model").at("uri").text()));
  if (spec.has("parallelism")) {
    const YamlNode p = spec.at("parallelism");
    constexpr const char* kFlags[][2] = {{"tensor", "--tensor-parallel-size"},
                                         {"pipeline", "--pipeline-parallel-size"},
                                         {"data", "--data-parallel-size"}};
    for (const auto& [key, flag] : kFlags) {
      if (p.has(key)) line += fmt::format(" {} {}", flag, p.at(key).integer(1, 65536));
    }
    if (p.boolean_or("expert", false)) line += " --enable-expert-parallel";
  }
  ContainerStart start;
  Variables environment;
  const bool has_container = spec.has("template") && spec.at("template").has("containers");
  if (has_container) {
    const YamlNode container = spec.at("template").at("containers").at(0);
    environment = environment_of(container, maps, {});
    start.version = engine_version_of(container.text_or("image", ""));
  }
  const auto more = environment.find("VLLM_ADDITIONAL_ARGS");
  if (more != environment.end()) line += " " + more->second;
  start.step = engine_step(line, environment);
  return start;
}

bool says_command(const YamlNode& spec) {
  if (!spec.has("template") || !spec.at("template").has("containers")) return false;
  const YamlNode containers = spec.at("template").at("containers");
  for (std::size_t i = 0; i < containers.size(); ++i) {
    if (containers.at(i).has("command") || containers.at(i).has("args")) return true;
  }
  return false;
}

/// "model:" of a predictor: the runtime's vLLM with the arguments given here.
ContainerStart runtime_start(const YamlNode& model, const ConfigMaps& maps) {
  const std::string format = model.at("modelFormat").at("name").text();
  if (format != "vLLM" && format != "vllm" && format != "huggingface") {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("the runtime of the format '{}' is not read", printable(format)))
        .at("", model.path())
        .help("known: vLLM, huggingface; or lint the ServingRuntime with its command");
  }
  const Variables environment = environment_of(model, maps, {});
  ContainerStart start;
  std::string name = model_behind(model.text_or("storageUri", ""));
  std::vector<std::string> rest;
  for (std::string& word : words_at(model, "args")) {
    word = filled_by_kubelet(word, environment, true);
    // Words of the Hugging Face server itself, before those of the engine.
    if (word.rfind("--model_id=", 0) == 0) {
      name = word.substr(word.find('=') + 1);
    } else if (word.rfind("--model_name=", 0) != 0 && word.rfind("--model_dir=", 0) != 0 &&
               word.rfind("--backend=", 0) != 0 && word.rfind("--task=", 0) != 0) {
      rest.push_back(word);
    }
  }
  std::vector<std::string> words = {"vllm", "serve"};
  if (!name.empty()) words.push_back(name);
  words.insert(words.end(), rest.begin(), rest.end());
  start.step = engine_step(words, environment);
  return start;
}

}  // namespace

YamlNode pod_of(const YamlNode& root) {
  if (root.at("kind").text() == "Pod") return root.at("spec");
  return root.at("spec").at("template").at("spec");
}

ContainerStart start_of_kserve(const YamlNode& root, const ConfigMaps& maps) {
  const YamlNode spec = root.at("spec");
  if (root.at("kind").text() == "LLMInferenceService") {
    return says_command(spec) ? start_of_pod(spec.at("template"), maps, {}) : preset(spec, maps);
  }
  const YamlNode predictor = spec.at("predictor");
  if (predictor.has("model")) return runtime_start(predictor.at("model"), maps);
  return start_of_pod(predictor, maps, {});
}

ManifestKind kind_of(const YamlNode& root) {
  if (root.is_map() && root.has("kind") && root.at("kind").is_scalar()) {
    const std::string kind = root.at("kind").text();
    const std::vector<std::pair<std::string, ManifestKind>> kinds = {
        {"Deployment", ManifestKind::kDeployment},
        {"StatefulSet", ManifestKind::kPods},
        {"DaemonSet", ManifestKind::kPods},
        {"ReplicaSet", ManifestKind::kPods},
        {"Job", ManifestKind::kPods},
        {"Pod", ManifestKind::kPods},
        {"LeaderWorkerSet", ManifestKind::kLws},
        {"LLMInferenceService", ManifestKind::kKserve},
        {"InferenceService", ManifestKind::kKserve},
        {"ServingRuntime", ManifestKind::kServingRuntime},
        {"ClusterServingRuntime", ManifestKind::kServingRuntime}};
    std::vector<std::string> names;
    for (const auto& [name, found] : kinds) {
      if (kind == name) return found;
      names.push_back(name);
    }
    throw Error(ErrorCode::kUnsupported,
                fmt::format("a manifest of kind '{}' is not read", printable(kind)))
        .at("", "kind")
        .help(did_you_mean(kind, names));
  }
  if (root.is_map() && root.has("services")) return ManifestKind::kCompose;
  if (root.is_map() && root.has("applications")) return ManifestKind::kRay;
  if (chart_kind(root) != ChartKind::kNone) return ManifestKind::kChart;
  for (const char* key : {"tensor_parallel_size", "max_batch_size", "max_num_tokens", "max_seq_len",
                          "kv_cache_config"}) {
    if (root.is_map() && root.has(key)) return ManifestKind::kTrtllmConfig;
  }
  throw Error(ErrorCode::kUnsupported, "this is no manifest that is known here")
      .help(
          "known: Deployment, StatefulSet, Job, LeaderWorkerSet, KServe, compose, Ray Serve, a "
          "TensorRT-LLM configuration, a script or command line, and values of the charts "
          "vllm production-stack (servingEngineSpec.modelSpec), llm-d modelservice "
          "(modelArtifacts) and vLLM's own (image.command)");
}

}  // namespace vramplan
