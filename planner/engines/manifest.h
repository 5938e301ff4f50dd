#pragma once
// Manifest: an engine's start-up as the files that fleets are run from: a shell command, a
// TensorRT-LLM configuration, Kubernetes Deployment, LeaderWorkerSet, KServe, Ray Serve, compose.
// Written from an EngineSetup and read back to one; the structure of each is checked against a
// table of its fields.
#include <string>
#include <vector>

#include "modelcards/yaml.h"
#include "planner/engines/command.h"

namespace vramplan {

enum class ManifestKind {
  kCommand,
  kTrtllmConfig,
  kDeployment,
  kLws,
  kKserve,  // LLMInferenceService for vLLM, InferenceService for the others
  kRay,
  kCompose,
  // Read, not written.
  kPods,            // StatefulSet, Job, DaemonSet, ReplicaSet, Pod
  kServingRuntime,  // KServe, also the cluster's
  kChart            // values of a Helm chart, see chart_values.h
};
/// The word of emit --engine, without a version: an engine's own form, or k8s lws kserve ray
/// compose.
const char* name_of(ManifestKind kind);

/// What a manifest says beside the setup; kept in comments and annotations.
struct ManifestNotes {
  std::string device;  // card name; annotation and comment
  int devices_per_node = 8;
  Bytes host_memory;  // of a pod; 0 = left out
  std::uint64_t card_hash = 0;
  std::string program;  // "vramplan 0.1.0"
  std::string image;    // container image; empty = the engine's usual one
};

/// Errors: kUnsupported for an engine that this kind cannot run.
std::string write_manifest(ManifestKind kind, const EngineSetup& setup, const ManifestNotes& notes);

struct LintedManifest {
  ManifestKind kind = ManifestKind::kCommand;
  EngineSetup setup;
  std::string device;  // from its notes, empty when it has none
};
/// A manifest, script or command line as text; of several documents the one that starts an engine.
/// `version` is that of the engine when neither the text nor the image says it.
/// Errors: kBadYaml, kUsage, kUnknownName as parse_command and engine_step; kUsage when several
/// documents start an engine; kUnsupported for a kind of manifest that is not known.
LintedManifest read_manifest(const std::string& text, const std::string& file_name,
                             const std::string& version);

/// Checks fields, types and required parts. Errors: kBadYaml naming file, line and field.
void check_manifest(ManifestKind kind, const YamlNode& root);
/// Which kind a parsed document is. Errors: kUnsupported.
ManifestKind kind_of(const YamlNode& root);

}  // namespace vramplan
