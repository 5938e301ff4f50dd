#include "planner/engines/manifest.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

constexpr ManifestKind kManifests[] = {ManifestKind::kDeployment, ManifestKind::kLws,
                                       ManifestKind::kKserve, ManifestKind::kRay,
                                       ManifestKind::kCompose};

EngineSetup setup_for(EngineKind kind) {
  EngineSetup s;
  s.id = {kind, engine_table({kind, ""}).version};
  s.model = "org/Model-8B";
  s.tp = 2;
  s.max_model_len = Tokens{1048576};
  s.max_num_seqs = 16;
  s.max_num_batched_tokens = Tokens{8192};
  if (kind == EngineKind::kLlamacpp) {
    s.tp = 1;
    return s;
  }
  s.block_tokens = 16;
  s.memory_fraction = 0.9;
  if (kind == EngineKind::kSglang) {
    s.kv_tokens = Tokens{16777216};
  } else {
    s.kv_cache_memory = Bytes{10738728960};
  }
  return s;
}

ManifestNotes notes() {
  ManifestNotes n;
  n.device = "h100-sxm-80gb";
  n.program = "vramplan test";
  n.card_hash = 7;
  n.host_memory = 64_GiB;
  return n;
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

ErrorCode code_of(const std::string& text) {
  try {
    read_manifest(text, "test.yaml", "");
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(Manifest, EveryKindReadsBackToItsSetup) {
  for (const ManifestKind kind : kManifests) {
    const EngineSetup setup = setup_for(EngineKind::kVllm);
    const LintedManifest read = read_manifest(write_manifest(kind, setup, notes()), "x", "");
    EXPECT_TRUE(read.setup == setup) << name_of(kind);
    EXPECT_EQ(read.kind, kind);
    EXPECT_EQ(read.device, "h100-sxm-80gb");
  }
}

// A configuration file of TensorRT-LLM stands beside what mounts it.
TEST(Manifest, EveryEngineReadsBackFromAContainer) {
  for (const EngineKind engine : kEngineKinds) {
    for (const ManifestKind kind :
         {ManifestKind::kDeployment, ManifestKind::kKserve, ManifestKind::kCompose}) {
      EngineSetup setup = setup_for(engine);
      setup.model = "org/a$$b $(c) ${d}";
      if (kind == ManifestKind::kKserve && engine == EngineKind::kVllm) setup.model = "org/m";
      const std::string text = write_manifest(kind, setup, notes());
      EXPECT_TRUE(read_manifest(text, "x", "").setup == setup)
          << name_of(engine) << " " << name_of(kind) << "\n"
          << text;
    }
  }
  EngineSetup group = setup_for(EngineKind::kSglang);
  group.tp = 16;
  group.nodes = 2;
  const std::string text = write_manifest(ManifestKind::kLws, group, notes());
  EXPECT_NE(text.find("$(LWS_LEADER_ADDRESS):20000"), std::string::npos);
  EXPECT_TRUE(read_manifest(text, "x", "").setup == group);
}

TEST(Manifest, EveryEngineReadsBackFromItsOwnForm) {
  for (const EngineKind engine : kEngineKinds) {
    const ManifestKind kind =
        engine == EngineKind::kTrtllm ? ManifestKind::kTrtllmConfig : ManifestKind::kCommand;
    const EngineSetup setup = setup_for(engine);
    const LintedManifest read = read_manifest(write_manifest(kind, setup, notes()), "x", "");
    EXPECT_TRUE(read.setup == setup) << name_of(engine);
  }
  EngineSetup wide = setup_for(EngineKind::kTrtllm);
  wide.nodes = 2;
  const std::string text = write_manifest(ManifestKind::kTrtllmConfig, wide, notes());
  EXPECT_TRUE(read_manifest(text, "x", "").setup == wide);
  wide = setup_for(EngineKind::kLlamacpp);
  wide.nodes = 2;
  EXPECT_THROW(write_manifest(ManifestKind::kCommand, wide, notes()), Error);
}

TEST(Manifest, NumbersAmongArgumentsAreQuoted) {
  for (const ManifestKind kind : {ManifestKind::kDeployment, ManifestKind::kLws,
                                  ManifestKind::kKserve, ManifestKind::kCompose}) {
    const std::string text = write_manifest(kind, setup_for(EngineKind::kVllm), notes());
    EXPECT_NE(text.find("- \"1048576\""), std::string::npos) << name_of(kind);
    EXPECT_EQ(text.find("- 1048576"), std::string::npos) << name_of(kind);
    EXPECT_NE(text.find("- \"0.9\""), std::string::npos) << name_of(kind);
  }
}

TEST(Manifest, AnUnknownFieldOrAWrongTypeIsRefused) {
  const std::string good =
      write_manifest(ManifestKind::kDeployment, setup_for(EngineKind::kVllm), notes());
  EXPECT_EQ(code_of(replaced(good, "  replicas: 1", "  replica: 1")), ErrorCode::kBadYaml);
  EXPECT_EQ(code_of(replaced(good, "  replicas: 1", "  replicas: one")), ErrorCode::kBadYaml);
  EXPECT_EQ(code_of(replaced(good, "  selector:\n    matchLabels:\n      app: model-8b\n", "")),
            ErrorCode::kBadYaml);
  EXPECT_EQ(code_of(replaced(good, "nvidia.com/gpu:", "nvidia.com/gpus:")), ErrorCode::kBadYaml);
  EXPECT_EQ(code_of(replaced(good, "kind: Deployment", "kind: Deploymnt")),
            ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(replaced(good, "--max-num-seqs", "--max-num-seq")), ErrorCode::kUnknownName);
}

// As "kubectl get deployment -o yaml" prints one that runs the engine in a shell: fields a cluster
// adds, limits of its own, underscores in flags.
TEST(Manifest, WhatAClusterPrintsIsRead) {
  const char* text = R"(apiVersion: apps/v1
kind: Deployment
metadata:
  annotations: {deployment.kubernetes.io/revision: "3"}
  creationTimestamp: "2026-01-01T00:00:00Z"
  generation: 3
  name: mistral-7b
  resourceVersion: "12345"
  uid: 1b2c3d
spec:
  progressDeadlineSeconds: 600
  replicas: 1
  revisionHistoryLimit: 10
  selector:
    matchLabels: {app.kubernetes.io/name: mistral-7b}
  template:
    metadata:
      creationTimestamp: null
      labels: {app.kubernetes.io/name: mistral-7b}
    spec:
      containers:
      - name: mistral-7b
        image: vllm/vllm-openai:latest
        command: ["/bin/sh", "-c"]
        args: ["vllm serve mistralai/Mistral-7B-Instruct-v0.3 --max_num_batched_tokens 1024"]
        resources:
          limits: {cpu: "10", memory: 20G, nvidia.com/gpu: "1"}
          requests: {cpu: "2", memory: 6G, nvidia.com/gpu: "1"}
        terminationMessagePath: /dev/termination-log
        terminationMessagePolicy: File
      dnsPolicy: ClusterFirst
      schedulerName: default-scheduler
      securityContext: {}
      terminationGracePeriodSeconds: 30
status:
  readyReplicas: 1
)";
  const LintedManifest read = read_manifest(text, "x", "");
  EXPECT_EQ(read.setup.model, "mistralai/Mistral-7B-Instruct-v0.3");
  EXPECT_EQ(read.setup.max_num_batched_tokens, Tokens{1024});
  EXPECT_EQ(code_of(replaced(text, "serve mistralai", "serve $(MODEL); mistralai")),
            ErrorCode::kUsage);
}

TEST(Manifest, AnUnknownKeyOfATensorRtConfigurationIsRefused) {
  const std::string good =
      write_manifest(ManifestKind::kTrtllmConfig, setup_for(EngineKind::kTrtllm), notes());
  EXPECT_EQ(code_of(replaced(good, "tokens_per_block", "tokens_a_block")), ErrorCode::kUnknownName);
}

TEST(Manifest, SeveralNodesNeedALeaderAndWorkers) {
  EngineSetup setup = setup_for(EngineKind::kVllm);
  setup.tp = 8;
  setup.pp = 2;
  setup.nodes = 2;
  EXPECT_THROW(write_manifest(ManifestKind::kDeployment, setup, notes()), Error);
  EXPECT_THROW(write_manifest(ManifestKind::kCompose, setup, notes()), Error);
  const std::string text = write_manifest(ManifestKind::kLws, setup, notes());
  EXPECT_NE(text.find("size: 2"), std::string::npos);
  EXPECT_NE(text.find("--headless"), std::string::npos);
  EXPECT_NE(text.find("nvidia.com/gpu: \"8\""), std::string::npos);
  EXPECT_TRUE(read_manifest(text, "x", "").setup == setup);
}

TEST(Manifest, AnEngineAKindCannotRunIsRefusedByName) {
  EXPECT_THROW(write_manifest(ManifestKind::kRay, setup_for(EngineKind::kSglang), notes()), Error);
  EXPECT_THROW(write_manifest(ManifestKind::kLws, setup_for(EngineKind::kLlamacpp), notes()),
               Error);
  EngineSetup wide = setup_for(EngineKind::kTrtllm);
  wide.nodes = 2;
  for (const ManifestKind kind : {ManifestKind::kLws, ManifestKind::kKserve}) {
    EXPECT_THROW(write_manifest(kind, wide, notes()), Error) << "mpirun starts these";
  }
}

TEST(Manifest, ACommandInAFileMayBeContinuedOverLines) {
  const LintedManifest read =
      read_manifest("#!/bin/sh\n# start\nvllm serve m \\\n  -tp 2\n", "run.sh", "0.19.0");
  EXPECT_EQ(read.setup.tp, 2);
  EXPECT_EQ(read.setup.id.version, "0.19.0");
}

}  // namespace
}  // namespace vramplan
