#include "planner/engines/chart_values.h"

#include <fmt/format.h>

#include "modelcards/error.h"
#include "planner/engines/command.h"

namespace vramplan {
namespace {

using Words = std::vector<std::string>;

[[noreturn]] void refuse(const YamlNode& node, const std::string& message, const char* help) {
  throw Error(ErrorCode::kUnsupported, message).at("", node.path()).help(help);
}

bool is_on(const YamlNode& node, const char* key, bool otherwise = false) {
  return node.boolean_or(key, otherwise);
}

/// A key whose value goes behind a flag.
struct KeyFlag {
  const char *key, *flag;
};

void add_value(const YamlNode& node, KeyFlag pair, Words& words) {
  if (!node.has(pair.key)) return;
  words.insert(words.end(), {pair.flag, node.at(pair.key).text()});
}

void append(Words& words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
}

/// vllmConfig of one model. Source: production-stack helm/templates/deployment-vllm-multi.yaml.
void add_vllm_config(const YamlNode& config, Words& words) {
  config.allow_only({"enableChunkedPrefill", "enablePrefixCaching", "maxModelLen", "dtype",
                     "tensorParallelSize", "maxNumSeqs", "gpuMemoryUtilization", "maxLoras", "v0",
                     "extraArgs", "prometheusMultiprocDir", "pipelineParallelSize", "v1"});
  if (config.has("pipelineParallelSize") && config.at("pipelineParallelSize").text() != "1") {
    refuse(config, "pipelineParallelSize is read by the chart's ray cluster alone",
           "lint the command of the cluster's head");
  }
  if (config.has("enableChunkedPrefill")) {
    words.emplace_back(is_on(config, "enableChunkedPrefill") ? "--enable-chunked-prefill"
                                                             : "--no-enable-chunked-prefill");
  }
  words.emplace_back(is_on(config, "enablePrefixCaching") ? "--enable-prefix-caching"
                                                          : "--no-enable-prefix-caching");
  for (const KeyFlag pair : {KeyFlag{"maxModelLen", "--max-model-len"}, KeyFlag{"dtype", "--dtype"},
                             KeyFlag{"tensorParallelSize", "--tensor-parallel-size"},
                             KeyFlag{"maxNumSeqs", "--max-num-seqs"},
                             KeyFlag{"gpuMemoryUtilization", "--gpu-memory-utilization"}}) {
    add_value(config, pair, words);
  }
  append(words, words_at(config, "extraArgs"));
}

ContainerStart production_stack(const YamlNode& root) {
  const YamlNode models = root.at("servingEngineSpec").at("modelSpec");
  std::vector<YamlNode> enabled;
  for (std::size_t i = 0; i < models.size(); ++i) {
    if (is_on(models.at(i), "enabled", true)) enabled.push_back(models.at(i));
  }
  if (enabled.empty()) models.fail("no model is enabled");
  if (enabled.size() > 1) {
    refuse(models, fmt::format("{} models are enabled", enabled.size()),
           "leave the one to predict, or set enabled: false on the others");
  }
  const YamlNode model = enabled.front();
  if (model.has("raySpec")) {
    refuse(model, "raySpec: the ray cluster of the chart is not read",
           "lint the command of the cluster's head");
  }
  if (model.has("lmcacheConfig") && is_on(model.at("lmcacheConfig"), "enabled")) {
    refuse(model, "lmcacheConfig: memory of LMCache is modelled by no twin",
           "set enabled: false there to plan without it");
  }
  ContainerStart start;
  start.step.words = {"vllm", "serve", model.at("modelURL").text()};
  if (is_on(model, "enableLoRA")) start.step.words.emplace_back("--enable-lora");
  if (model.has("vllmConfig")) add_vllm_config(model.at("vllmConfig"), start.step.words);
  start.version = engine_version_of(model.at("repository").text() + ":" + model.at("tag").text());
  return start;
}

/// A text with the one template that published values use.
std::string rendered(const YamlNode& root, const YamlNode& node) {
  std::string text = node.text();
  const std::string name = "{{ .Values.modelArtifacts.name }}";
  const std::size_t at = text.find(name);
  if (at != std::string::npos) {
    text.replace(at, name.size(), root.at("modelArtifacts").at("name").text());
  }
  std::erase(text, '"');
  if (text.find("{{") == std::string::npos) return text;
  refuse(node, "a template in a value is not filled in", "render it with 'helm template'");
}

/// The model behind hf://, pvc://CLAIM/PATH and pvc+hf://CLAIM/.../NAMESPACE/NAME.
std::string model_of(const YamlNode& root) {
  const YamlNode artifacts = root.at("modelArtifacts");
  const std::string uri = rendered(root, artifacts.at("uri"));
  const std::size_t mark = uri.find("://");
  const std::string kind = uri.substr(0, mark);
  const std::string rest = mark == std::string::npos ? "" : uri.substr(mark + 3);
  const std::size_t slash = rest.rfind('/');
  if (kind == "hf" && !rest.empty()) return rest;
  if (kind == "pvc" && rest.find('/') != std::string::npos) {
    return artifacts.text_or("mountPath", "/model-cache") + rest.substr(rest.find('/'));
  }
  if (kind == "pvc+hf" && slash != std::string::npos && slash > 0) {
    const std::size_t before = rest.rfind('/', slash - 1);
    return rest.substr(before == std::string::npos ? 0 : before + 1);
  }
  refuse(artifacts.at("uri"), fmt::format("a model of '{}' is not read", printable(uri)),
         "known: hf://, pvc://, pvc+hf://");
}

std::int64_t ranks(const YamlNode& parallelism, const char* key) {
  return parallelism.integer_or(key, 1, 1, 65536);
}

void add_parallelism(const YamlNode& role, Words& words) {
  if (!role.has("parallelism")) return;
  const YamlNode p = role.at("parallelism");
  p.allow_only({"tensor", "data", "dataLocal", "workers", "enabled"});
  const std::int64_t local = ranks(p, "dataLocal");
  const std::int64_t data = p.has("data") ? ranks(p, "data") : local * ranks(p, "workers");
  if (ranks(p, "tensor") > 1) {
    append(words, {"--tensor-parallel-size", std::to_string(ranks(p, "tensor"))});
  }
  if (data > 1) append(words, {"--data-parallel-size", std::to_string(data)});
}

/// Source: llm-d-modelservice templates/_helpers.tpl, "llm-d-modelservice.command".
ContainerStart model_service(const YamlNode& root) {
  const auto creates = [&](const char* role) {
    return root.has(role) && root.at(role).has("containers") &&
           is_on(root.at(role), "create", true) && root.at(role).text_or("replicas", "1") != "0";
  };
  if (creates("prefill") && creates("decode")) {
    refuse(root.at("prefill"), "prefill and decode are two engines",
           "set create: false on the one that is not to be predicted");
  }
  const YamlNode role = root.at(creates("prefill") ? "prefill" : "decode");
  const YamlNode container = role.at("containers").at(0);
  if (role.at("containers").size() > 1) refuse(role, "more than one container", "leave the engine");
  const std::string how = container.text_or("modelCommand", "custom");
  ContainerStart start;
  start.version = engine_version_of(container.text_or("image", ""));
  const Variables environment = environment_of(container, {}, {});
  Words words = words_at(container, "command");
  if (how == "vllmServe" || how == "imageDefault") {
    words = {"vllm", "serve", model_of(root)};
    add_parallelism(role, words);
  } else if (how != "custom") {
    container.fail("modelCommand is vllmServe, imageDefault or custom");
  } else if (words.empty()) {
    container.fail("'command' is missing: modelCommand custom needs it");
  }
  append(words, words_at(container, "args"));
  start.step = engine_step(filled_by_kubelet(std::move(words), environment), environment);
  if (start.step.words.empty()) container.fail("the command starts no engine that is known here");
  return start;
}

/// vLLM docs, deployment/frameworks/helm: image.command is the whole command.
ContainerStart vllm_chart(const YamlNode& root) {
  ContainerStart start;
  const YamlNode image = root.at("image");
  start.step = engine_step(words_at(image, "command"), {});
  if (start.step.words.empty()) image.fail("'command' starts no engine that is known here");
  start.version =
      engine_version_of(image.text_or("repository", "") + ":" + image.text_or("tag", ""));
  return start;
}

}  // namespace

ChartKind chart_kind(const YamlNode& root) {
  if (!root.is_map()) return ChartKind::kNone;
  if (root.has("servingEngineSpec")) return ChartKind::kProductionStack;
  if (root.has("modelArtifacts")) return ChartKind::kModelService;
  const bool image = root.has("image") && root.at("image").is_map();
  return image && root.at("image").has("command") ? ChartKind::kVllmChart : ChartKind::kNone;
}

ContainerStart start_of_chart(ChartKind kind, const YamlNode& root) {
  switch (kind) {
    case ChartKind::kProductionStack:
      return production_stack(root);
    case ChartKind::kModelService:
      return model_service(root);
    case ChartKind::kVllmChart:
      return vllm_chart(root);
    case ChartKind::kNone:
      break;
  }
  return {};
}

}  // namespace vramplan
