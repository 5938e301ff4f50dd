// Manifests as people publish them, read through read_manifest.
#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "planner/engines/manifest.h"

namespace vramplan {
namespace {

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

std::string refused(const std::string& text) {
  try {
    read_manifest(text, "test.yaml", "");
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.message();
  }
  return "taken";
}

constexpr const char* kStatefulSet = R"(apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {LEN: "8192"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: llm}
spec:
  serviceName: web
  selector: {matchLabels: {app: llm}}
  template:
    metadata: {labels: {app: llm}}
    spec:
      containers:
      - name: proxy
        image: nginx
        command: ["sh", "-c", "while true; do sleep 1; done"]
      - name: engine
        image: vllm/vllm-openai:v0.10.2
        envFrom: [{configMapRef: {name: settings}}]
        env:
        - {name: MODEL, value: org/M}
        - {name: TOKEN, valueFrom: {secretKeyRef: {name: a, key: b}}}
        command: ["/bin/bash", "-lc"]
        args:
        - |
          set -euo pipefail
          export TP=2   # ranks
          pip install -q x > /dev/null 2>&1 || true
          cd /tmp && exec vllm serve "$MODEL" \
            --tensor-parallel-size ${TP:-1} --max-model-len $LEN \
            --api-key $TOKEN --gpu-memory-utilization ${UTIL:-0.85}
)";

TEST(ManifestRead, AScriptInAContainerWithItsEnvironment) {
  const LintedManifest read = read_manifest(kStatefulSet, "x", "");
  EXPECT_EQ(read.kind, ManifestKind::kPods);
  EXPECT_EQ(read.setup.model, "org/M");
  EXPECT_EQ(read.setup.tp, 2);
  EXPECT_EQ(read.setup.max_model_len, Tokens{8192}) << "of the ConfigMap";
  EXPECT_EQ(read.setup.memory_fraction, 0.85) << "of the default in the script";
  EXPECT_EQ(read.setup.id.version, "0.10.2") << "of the image";
  EXPECT_EQ(refused(replaced(kStatefulSet, "$LEN", "$LENGTH")),
            "101 the value of $LENGTH is not written here");
  EXPECT_EQ(
      refused(replaced(kStatefulSet, "image: nginx", "image: nginx\n        oops: 1")).substr(0, 3),
      "201");
}

TEST(ManifestRead, OneDocumentStartsAnEngine) {
  const std::string one = std::string(kStatefulSet).substr(std::string(kStatefulSet).find("apps"));
  EXPECT_EQ(refused(kStatefulSet + std::string("---\napiVersion: ") + one),
            "201 more than one document starts an engine");
  const std::string idle = replaced(kStatefulSet, "exec vllm serve", "exec sleep");
  EXPECT_EQ(refused(replaced(idle, "while true; do sleep 1; done", "sleep 1")).substr(0, 3), "101");
  std::string many;
  for (int i = 0; i < 70; ++i) many += "---\nkind: Service\n";
  EXPECT_EQ(refused(many), "201 more than 64 documents");
}

TEST(ManifestRead, WhatKubectlListsIsRead) {
  const LintedManifest read = read_manifest(R"(apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: Job
  metadata: {name: run}
  spec:
    backoffLimit: 0
    template:
      spec:
        restartPolicy: Never
        containers:
        - name: engine
          image: lmsysorg/sglang:v0.5.2-cu126
          args: [python3, -m, sglang.launch_server, --model-path, $(MODEL), --tp, "4"]
          env: [{name: MODEL, value: org/M}]
)",
                                            "x", "");
  EXPECT_EQ(read.setup.id.kind, EngineKind::kSglang);
  EXPECT_EQ(read.setup.id.version, "0.5.2");
  EXPECT_EQ(read.setup.model, "org/M");
  EXPECT_EQ(read.setup.tp, 4);
}

TEST(ManifestRead, AGroupKnowsItsSize) {
  const char* text = R"(apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: g}
spec:
  replicas: 1
  leaderWorkerTemplate:
    size: 2
    leaderTemplate:
      spec:
        containers:
        - name: leader
          image: lmsysorg/sglang:latest
          command: [python3, -m, sglang.launch_server, --model-path, org/M, --tp, "16",
                    --nnodes, $(LWS_GROUP_SIZE), --node-rank, $(LWS_WORKER_INDEX),
                    --dist-init-addr, "$(LWS_LEADER_ADDRESS):20000"]
    workerTemplate:
      spec:
        containers: [{name: worker, image: a, command: [sleep]}]
)";
  const LintedManifest read = read_manifest(text, "x", "");
  EXPECT_EQ(read.setup.nodes, 2);
  EXPECT_EQ(read.setup.tp, 16);
  EXPECT_EQ(refused(replaced(text, "$(LWS_GROUP_SIZE)", "$(NODES)")),
            "101 the value of $(NODES) is not written here");
}

TEST(ManifestRead, ComposeOfTextsAndLists) {
  const char* text = R"(services:
  web: {image: nginx, ports: ["80:80"]}
  llm:
    image: vllm/vllm-openai:v0.9.2
    environment: [HF_TOKEN]
    command: >
      --model org/M --max-model-len ${LEN:-4096}
      --port ${PORT}
)";
  const LintedManifest read = read_manifest(text, "x", "");
  EXPECT_EQ(read.setup.model, "org/M");
  EXPECT_EQ(read.setup.max_model_len, Tokens{4096});
  EXPECT_EQ(refused(replaced(text, "${LEN:-4096}", "${LEN}")),
            "101 the value of $LEN is not written here");
  const LintedManifest shell = read_manifest(R"(services:
  llm:
    image: x
    environment: {LEN: "2048"}
    entrypoint: ["sh", "-c"]
    command: ["exec vllm serve org/M --max-model-len $$LEN"]
)",
                                             "x", "");
  EXPECT_EQ(shell.setup.max_model_len, Tokens{2048}) << "the container's shell fills it in";
}

TEST(ManifestRead, VariablesSetFlagsOfLlamacpp) {
  const char* text = R"(services:
  llm:
    image: ghcr.io/ggml-org/llama.cpp:server-cuda-b6000
    environment: {LLAMA_ARG_MODEL: /m.gguf, LLAMA_ARG_CTX_SIZE: 8192, LLAMA_ARG_N_PARALLEL: 2}
    command: ["-np", "4"]
)";
  const LintedManifest read = read_manifest(text, "x", "");
  EXPECT_EQ(read.setup.model, "/m.gguf");
  EXPECT_EQ(read.setup.max_num_seqs, 4) << "the argument wins";
  EXPECT_EQ(read.setup.max_model_len, Tokens{2048});
  EXPECT_EQ(read.setup.id.version, "b6000");
  EXPECT_EQ(refused(replaced(text, "CTX_SIZE", "CTX_SISE")),
            "102 no flag is set by the variable LLAMA_ARG_CTX_SISE");
}

TEST(ManifestRead, KserveInItsForms) {
  const LintedManifest preset = read_manifest(R"(apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: m}
spec:
  model: {uri: "hf://org/M", name: m}
  replicas: 2
  parallelism: {tensor: 2}
  template:
    containers:
    - name: main
      env: [{name: VLLM_ADDITIONAL_ARGS, value: "--max-model-len=4096 --max-num-seqs 8"}]
)",
                                              "x", "");
  EXPECT_EQ(preset.setup.model, "org/M");
  EXPECT_EQ(preset.setup.tp, 2);
  EXPECT_EQ(preset.setup.max_model_len, Tokens{4096});
  const char* service = R"(apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: m}
spec:
  predictor:
    minReplicas: 1
    model:
      modelFormat: {name: huggingface}
      args: [--model_name=m, --model_id=org/M, --max-model-len, "2048", --dtype=float16]
)";
  const LintedManifest model = read_manifest(service, "x", "");
  EXPECT_EQ(model.setup.model, "org/M");
  EXPECT_EQ(model.setup.dtype, "float16");
  EXPECT_EQ(refused(replaced(service, "huggingface", "sklearn")).substr(0, 3), "601");
  const LintedManifest runtime = read_manifest(R"(apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: r}
spec:
  supportedModelFormats: [{name: vLLM, autoSelect: true}]
  containers:
  - name: kserve-container
    image: quay.io/x:1
    command: [python, -m, vllm.entrypoints.openai.api_server]
    args: ["--model=/mnt/models", "--max-num-seqs=512", "--served-model-name={{.Name}}"]
)",
                                               "x", "");
  EXPECT_EQ(runtime.setup.model, "/mnt/models");
  EXPECT_EQ(runtime.setup.max_num_seqs, 512);
}

constexpr const char* kTrtllm = R"(apiVersion: v1
kind: ConfigMap
metadata: {name: cfg}
data:
  serve.yaml: |
    max_batch_size: 64
    kv_cache_config: {free_gpu_memory_fraction: 0.8}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  selector: {matchLabels: {a: b}}
  template:
    spec:
      containers:
      - name: engine
        image: nvcr.io/nvidia/tensorrt-llm/release:1.1.0
        command: [trtllm-serve, org/M, --tp_size, "2", --config, /etc/x/serve.yaml]
        volumeMounts: [{name: c, mountPath: /etc/x}]
      volumes: [{name: c, configMap: {name: cfg}}]
)";

TEST(ManifestRead, TheFileBehindAConfigFlagIsTheMountedOne) {
  const LintedManifest read = read_manifest(kTrtllm, "x", "");
  EXPECT_EQ(read.setup.tp, 2);
  EXPECT_EQ(read.setup.max_num_seqs, 64);
  EXPECT_EQ(read.setup.memory_fraction, 0.8);
  EXPECT_EQ(read.setup.id.version, "1.1.0");
  EXPECT_EQ(refused(replaced(kTrtllm, "name: cfg}", "name: other}")),
            "101 --config /etc/x/serve.yaml: that file is not in here");
  EXPECT_EQ(refused("trtllm-serve m --config a.yaml").substr(0, 3), "101") << "never passed over";
  EXPECT_EQ(refused(replaced(kTrtllm, "max_batch_size: 64", "tensor_parallel_size: 4")),
            "101 tensor_parallel_size is said twice, by a flag and by /etc/x/serve.yaml");
  const std::string sub =
      replaced(kTrtllm, "mountPath: /etc/x}", "mountPath: /etc/x/serve.yaml, subPath: serve.yaml}");
  EXPECT_EQ(read_manifest(sub, "x", "").setup.max_num_seqs, 64);
}

TEST(ManifestRead, KeywordsOfRayTakeNoSuffix) {
  const char* text = R"(applications:
- name: a
  import_path: ray.serve.llm:build_openai_app
  args:
    llm_configs:
    - model_loading_config: {model_id: m, model_source: org/M}
      engine_kwargs: {max_model_len: 32k}
)";
  EXPECT_EQ(refused(text), "201 a keyword takes no suffix, only the flag does");
}

RC_GTEST_PROP(ManifestRead, ADamagedManifestIsReadOrRefused, ()) {
  std::string text = *rc::gen::element<std::string>(kStatefulSet, kTrtllm);
  const int edits = *rc::gen::inRange(1, 6);
  for (int i = 0; i < edits; ++i) {
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    const auto length = *rc::gen::inRange<std::size_t>(0, 12);
    text.replace(at, length,
                 *rc::gen::element<std::string>("", "$", "{", "---\n", ": ", "\n", "'"));
  }
  try {
    read_manifest(text, "damaged", "");
  } catch (const Error& error) {
    const int code = exit_code(error.code());
    RC_ASSERT(code == 2 || code == 6);
  }
}

}  // namespace
}  // namespace vramplan
