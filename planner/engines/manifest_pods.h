#pragma once
// Manifest pods: where a Kubernetes object of each kind keeps the pod that starts an engine.
#include "planner/engines/container.h"

namespace vramplan {

/// The pod of a Deployment, StatefulSet, Job, DaemonSet, ReplicaSet or Pod.
YamlNode pod_of(const YamlNode& root);
/// KServe: of an LLMInferenceService its template's container, or what its preset starts with the
/// model, the parallelism and VLLM_ADDITIONAL_ARGS; of an InferenceService its predictor's
/// container, or the vLLM runtime with the predictor's model and args. Errors: kUnsupported for
/// other model formats.
ContainerStart start_of_kserve(const YamlNode& root, const ConfigMaps& maps);

}  // namespace vramplan
