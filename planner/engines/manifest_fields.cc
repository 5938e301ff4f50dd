// Checking half of manifest.h: the fields of each kind of manifest, as tables.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <vector>

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
constexpr Field kContainerFields[] = {{"name", "text", true},
                                      {"image", "text", false},
                                      {"command", "list", false},
                                      {"args", "list", false},
                                      {"ports", "list", false},
                                      {"resources", "map", false},
                                      {"resources.limits", "map", false},
                                      {"resources.limits.nvidia.com/gpu", "text", false},
                                      {"resources.limits.memory", "text", false},
                                      {"resources.limits.cpu", "any", false},
                                      {"resources.limits.ephemeral-storage", "any", false},
                                      {"resources.claims", "any", false},
                                      {"resources.requests", "any", false},
                                      {"startupProbe", "any", false},
                                      {"readinessProbe", "any", false},
                                      {"livenessProbe", "any", false},
                                      {"volumeMounts", "list", false},
                                      {"env", "list", false},
                                      {"envFrom", "any", false},
                                      {"imagePullPolicy", "text", false},
                                      {"lifecycle", "any", false},
                                      {"securityContext", "any", false},
                                      {"stdin", "any", false},
                                      {"terminationMessagePath", "text", false},
                                      {"terminationMessagePolicy", "text", false},
                                      {"tty", "any", false},
                                      {"volumeDevices", "any", false},
                                      {"workingDir", "text", false}};
constexpr Field kPodFields[] = {{"containers", "list", true},
                                {"volumes", "list", false},
                                {"nodeSelector", "any", false},
                                {"tolerations", "list", false},
                                {"imagePullSecrets", "list", false},
                                {"serviceAccountName", "text", false},
                                {"hostIPC", "any", false},
                                {"affinity", "any", false},
                                {"initContainers", "list", false},
                                {"restartPolicy", "text", false},
                                {"automountServiceAccountToken", "any", false},
                                {"dnsPolicy", "text", false},
                                {"enableServiceLinks", "any", false},
                                {"hostNetwork", "any", false},
                                {"nodeName", "text", false},
                                {"priorityClassName", "text", false},
                                {"runtimeClassName", "text", false},
                                {"schedulerName", "text", false},
                                {"securityContext", "any", false},
                                {"serviceAccount", "text", false},
                                {"subdomain", "text", false},
                                {"hostname", "text", false},
                                {"terminationGracePeriodSeconds", "any", false},
                                {"topologySpreadConstraints", "any", false}};
/// What every Kubernetes object begins with.
constexpr Field kObjectFields[] = {{"apiVersion", "text", true},
                                   {"kind", "text", true},
                                   {"metadata", "map", true},
                                   {"metadata.name", "text", true},
                                   {"metadata.annotations", "any", false},
                                   {"metadata.labels", "any", false},
                                   {"metadata.namespace", "text", false},
                                   // What a cluster adds to an object that is read back from it.
                                   {"metadata.creationTimestamp", "any", false},
                                   {"metadata.generation", "any", false},
                                   {"metadata.managedFields", "any", false},
                                   {"metadata.ownerReferences", "any", false},
                                   {"metadata.resourceVersion", "any", false},
                                   {"metadata.uid", "any", false},
                                   {"status", "any", false},
                                   {"spec", "map", true}};
constexpr Field kDeploymentFields[] = {{"spec.replicas", "integer", false},
                                       {"spec.strategy", "any", false},
                                       {"spec.progressDeadlineSeconds", "any", false},
                                       {"spec.revisionHistoryLimit", "any", false},
                                       {"spec.minReadySeconds", "any", false},
                                       {"spec.paused", "any", false},
                                       {"spec.selector", "map", true},
                                       {"spec.selector.matchLabels", "any", true},
                                       {"spec.selector.matchExpressions", "any", false},
                                       {"spec.template", "any", true}};
/// StatefulSet, Job, DaemonSet, ReplicaSet: what stands beside the template.
constexpr Field kPodsFields[] = {{"spec.replicas", "integer", false},
                                 {"spec.selector", "any", false},
                                 {"spec.template", "any", true},
                                 {"spec.serviceName", "text", false},
                                 {"spec.podManagementPolicy", "text", false},
                                 {"spec.updateStrategy", "any", false},
                                 {"spec.volumeClaimTemplates", "list", false},
                                 {"spec.persistentVolumeClaimRetentionPolicy", "any", false},
                                 {"spec.ordinals", "any", false},
                                 {"spec.revisionHistoryLimit", "any", false},
                                 {"spec.minReadySeconds", "any", false},
                                 {"spec.backoffLimit", "any", false},
                                 {"spec.completions", "any", false},
                                 {"spec.completionMode", "text", false},
                                 {"spec.parallelism", "any", false},
                                 {"spec.activeDeadlineSeconds", "any", false},
                                 {"spec.ttlSecondsAfterFinished", "any", false},
                                 {"spec.suspend", "any", false},
                                 {"spec.manualSelector", "any", false},
                                 {"spec.podFailurePolicy", "any", false},
                                 {"spec.podReplacementPolicy", "text", false}};
constexpr Field kLwsFields[] = {{"spec.replicas", "integer", true},
                                {"spec.rolloutStrategy", "any", false},
                                {"spec.startupPolicy", "text", false},
                                {"spec.networkConfig", "any", false},
                                {"spec.leaderWorkerTemplate", "map", true},
                                {"spec.leaderWorkerTemplate.size", "integer", true},
                                {"spec.leaderWorkerTemplate.restartPolicy", "text", false},
                                {"spec.leaderWorkerTemplate.leaderTemplate", "any", false},
                                {"spec.leaderWorkerTemplate.workerTemplate", "any", true}};
constexpr Field kKserveFields[] = {{"spec.model", "map", true},
                                   {"spec.model.uri", "text", true},
                                   {"spec.model.name", "text", false},
                                   {"spec.model.lora", "any", false},
                                   {"spec.replicas", "integer", false},
                                   {"spec.scaling", "any", false},
                                   {"spec.parallelism", "map", false},
                                   {"spec.parallelism.tensor", "integer", false},
                                   {"spec.parallelism.pipeline", "integer", false},
                                   {"spec.parallelism.data", "integer", false},
                                   {"spec.parallelism.dataLocal", "integer", false},
                                   {"spec.parallelism.dataRPCPort", "integer", false},
                                   {"spec.parallelism.expert", "any", false},
                                   {"spec.template", "any", false},
                                   {"spec.worker", "any", false},
                                   {"spec.prefill", "any", false},
                                   {"spec.router", "any", false},
                                   {"spec.baseRefs", "any", false}};
constexpr Field kComposeFields[] = {
    {"image", "text", false},       {"build", "any", false},
    {"labels", "any", false},       {"entrypoint", "any", false},
    {"command", "any", false},      {"ports", "list", false},
    {"ipc", "text", false},         {"deploy", "any", false},
    {"environment", "any", false},  {"volumes", "list", false},
    {"shm_size", "any", false},     {"restart", "text", false},
    {"runtime", "text", false},     {"container_name", "text", false},
    {"configs", "list", false},     {"secrets", "list", false},
    {"env_file", "any", false},     {"networks", "any", false},
    {"depends_on", "any", false},   {"healthcheck", "any", false},
    {"ulimits", "any", false},      {"privileged", "any", false},
    {"hostname", "text", false},    {"network_mode", "text", false},
    {"pull_policy", "text", false}, {"user", "text", false},
    {"working_dir", "text", false}, {"logging", "any", false},
    {"cap_add", "list", false},     {"security_opt", "list", false},
    {"devices", "list", false},     {"gpus", "any", false},
    {"expose", "list", false},      {"extra_hosts", "any", false},
    {"init", "any", false},         {"tty", "any", false},
    {"stdin_open", "any", false},   {"profiles", "list", false},
    {"platform", "text", false},    {"tmpfs", "any", false},
    {"group_add", "list", false},   {"stop_grace_period", "any", false},
    {"mem_limit", "any", false},    {"cpus", "any", false}};
constexpr Field kRayFields[] = {{"model_loading_config", "map", true},
                                {"model_loading_config.model_id", "text", true},
                                {"model_loading_config.model_source", "text", false},
                                {"accelerator_type", "text", false},
                                {"engine_kwargs", "any", true},
                                {"deployment_config", "any", false},
                                {"placement_group_config", "any", false}};

using Fields = std::vector<Field>;

template <std::size_t N>
Fields list_of(const Field (&fields)[N]) {
  return Fields(std::begin(fields), std::end(fields));
}
/// A Kubernetes object with these fields beside those of every object.
template <std::size_t N>
Fields object_of(const Field (&fields)[N]) {
  Fields all = list_of(kObjectFields);
  all.insert(all.end(), std::begin(fields), std::end(fields));
  return all;
}

std::vector<std::string> children_of(const Fields& fields, const std::string& parent) {
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

void check_fields(const YamlNode& node, const Fields& fields, const std::string& parent = "") {
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

/// Every word is a scalar.
void check_words(const YamlNode& node, const char* key) {
  if (!node.has(key) || node.at(key).is_scalar()) return;
  for (std::size_t i = 0; i < node.at(key).size(); ++i) node.at(key).at(i).text();
}

void check_containers(const YamlNode& spec) {
  const YamlNode containers = spec.at("containers");
  if (containers.size() == 0) containers.fail("no container");
  for (std::size_t i = 0; i < containers.size(); ++i) {
    check_fields(containers.at(i), list_of(kContainerFields));
    check_words(containers.at(i), "args");
  }
}

void check_pod(const YamlNode& spec) {
  check_fields(spec, list_of(kPodFields));
  check_containers(spec);
}

void check_lws(const YamlNode& root) {
  check_fields(root, object_of(kLwsFields));
  const YamlNode group = root.at("spec").at("leaderWorkerTemplate");
  if (group.has("leaderTemplate")) check_pod(group.at("leaderTemplate").at("spec"));
  check_pod(group.at("workerTemplate").at("spec"));
}

void check_kserve(const YamlNode& root) {
  if (root.at("kind").text() == "InferenceService") {
    // The predictor is a pod with fields of its own (minReplicas, model, ...).
    const YamlNode predictor = root.at("spec").at("predictor");
    if (!predictor.has("model")) check_containers(predictor);
    return;
  }
  check_fields(root, object_of(kKserveFields));
  const YamlNode spec = root.at("spec");
  if (spec.has("replicas") && spec.has("scaling")) {
    spec.fail("replicas and scaling exclude each other");
  }
  if (spec.has("template") && spec.at("template").has("containers")) {
    check_pod(spec.at("template"));
  }
}

void check_ray(const YamlNode& root) {
  root.allow_only({"applications", "http_options", "proxy_location", "logging_config"});
  const YamlNode app = root.at("applications").at(0);
  app.allow_only({"name", "route_prefix", "import_path", "args", "runtime_env"});
  if (app.at("import_path").text() != "ray.serve.llm:build_openai_app") {
    app.at("import_path").fail("another application than ray.serve.llm:build_openai_app");
  }
  app.at("args").allow_only({"llm_configs"});
  check_fields(app.at("args").at("llm_configs").at(0), list_of(kRayFields));
}

void check_compose(const YamlNode& root) {
  root.allow_only({"services", "volumes", "networks", "name", "version", "configs", "secrets"});
  const YamlNode services = root.at("services");
  if (services.keys().empty()) services.fail("no service");
  for (const std::string& name : services.keys()) {
    const YamlNode service = services.at(name);
    check_fields(service, list_of(kComposeFields));
    check_words(service, "command");
    check_words(service, "entrypoint");
  }
}

}  // namespace

void check_manifest(ManifestKind kind, const YamlNode& root) {
  switch (kind) {
    case ManifestKind::kDeployment:
      check_fields(root, object_of(kDeploymentFields));
      check_pod(root.at("spec").at("template").at("spec"));
      break;
    case ManifestKind::kPods:
      if (root.at("kind").text() == "Pod") {
        check_pod(root.at("spec"));
        break;
      }
      check_fields(root, object_of(kPodsFields));
      check_pod(root.at("spec").at("template").at("spec"));
      break;
    case ManifestKind::kLws:
      check_lws(root);
      break;
    case ManifestKind::kKserve:
      check_kserve(root);
      break;
    case ManifestKind::kServingRuntime:
      check_containers(root.at("spec"));
      break;
    case ManifestKind::kRay:
      check_ray(root);
      break;
    case ManifestKind::kCompose:
      check_compose(root);
      break;
    case ManifestKind::kChart:  // read strictly where it is read
    case ManifestKind::kTrtllmConfig:
    case ManifestKind::kCommand:
      break;  // their keys and flags are checked against the engine's table
  }
}

}  // namespace vramplan
