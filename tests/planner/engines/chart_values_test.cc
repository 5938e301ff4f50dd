#include "planner/engines/chart_values.h"

#include <gtest/gtest.h>

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
    read_manifest(text, "values.yaml", "");
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.message();
  }
  return "taken";
}

// The form of production-stack's tutorials/assets/values-02-basic-config.yaml.
constexpr const char* kStack = R"(servingEngineSpec:
  runtimeClassName: ""
  modelSpec:
  - name: "llama3"
    repository: "vllm/vllm-openai"
    tag: "v0.10.2"
    modelURL: "org/M"
    replicaCount: 1
    requestGPU: 2
    vllmConfig:
      enableChunkedPrefill: false
      enablePrefixCaching: false
      maxModelLen: 4096
      tensorParallelSize: 2
      dtype: "bfloat16"
      extraArgs: ["--disable-log-requests", "--gpu-memory-utilization", "0.8"]
)";

TEST(ChartValues, ProductionStack) {
  const LintedManifest read = read_manifest(kStack, "values.yaml", "");
  EXPECT_EQ(read.kind, ManifestKind::kChart);
  EXPECT_EQ(read.setup.model, "org/M");
  EXPECT_EQ(read.setup.id.version, "0.10.2");
  EXPECT_EQ(read.setup.tp, 2);
  EXPECT_EQ(read.setup.max_model_len, Tokens{4096});
  EXPECT_EQ(read.setup.memory_fraction, 0.8);
  EXPECT_EQ(read.setup.dtype, "bfloat16");
  EXPECT_EQ(refused(replaced(kStack, "modelURL", "modelURI")), "201 the key 'modelURL' is missing");
  EXPECT_EQ(refused(replaced(kStack, "maxModelLen", "maxModelLength")).substr(0, 3), "201");
  EXPECT_EQ(refused(replaced(kStack, "    vllmConfig", "    raySpec: {}\n    vllmConfig")),
            "601 raySpec: the ray cluster of the chart is not read");
  EXPECT_EQ(refused(replaced(kStack, "    vllmConfig",
                             "    lmcacheConfig: {enabled: true}\n    vllmConfig"))
                .substr(0, 3),
            "601");
  EXPECT_EQ(refused(kStack + std::string("  - {name: b, modelURL: c}\n")).substr(0, 3), "601");
}

// The form of llm-d-modelservice's examples/values-*.yaml.
constexpr const char* kService = R"yaml(modelArtifacts:
  name: org/M
  uri: hf://"{{ .Values.modelArtifacts.name }}"
  size: 20Gi
decode:
  create: true
  parallelism: {tensor: 2}
  containers:
  - name: "vllm"
    image: "ghcr.io/llm-d/llm-d:v0.2.0"
    modelCommand: vllmServe
    args: ["--enforce-eager", "--max-num-seqs", "$(SEQS)"]
    env: [{name: SEQS, value: "8"}]
prefill:
  create: false
)yaml";

TEST(ChartValues, ModelService) {
  const LintedManifest read = read_manifest(kService, "values.yaml", "0.10.2");
  EXPECT_EQ(read.setup.model, "org/M");
  EXPECT_EQ(read.setup.tp, 2);
  EXPECT_TRUE(read.setup.eager);
  EXPECT_EQ(read.setup.max_num_seqs, 8);
  EXPECT_EQ(read_manifest(replaced(kService, "hf://\"{{ .Values.modelArtifacts.name }}\"",
                                   "pvc+hf://claim/hub/org/Other"),
                          "x", "")
                .setup.model,
            "org/Other");
  EXPECT_EQ(refused(replaced(kService, ".Values.modelArtifacts.name", ".Release.Name")),
            "601 a template in a value is not filled in");
  EXPECT_EQ(refused(replaced(kService, "hf://\"", "s3://\"")).substr(0, 3), "601");
  EXPECT_EQ(refused(replaced(kService, "create: false",
                             "create: true\n  containers: [{image: a, command: [b]}]")),
            "601 prefill and decode are two engines");
  EXPECT_EQ(refused(replaced(kService, "vllmServe", "custom")).substr(0, 3), "201");
  EXPECT_EQ(refused(replaced(kService, "$(SEQS)", "$(OTHER)")),
            "101 the value of $(OTHER) is not written here");
}

TEST(ChartValues, TheChartOfVllmsDocumentation) {
  const LintedManifest read = read_manifest(R"(image:
  repository: vllm/vllm-openai
  tag: v0.11.0
  command: ["vllm", "serve", "/data/", "--dtype", "float32", "--block-size", "16"]
)",
                                            "x", "");
  EXPECT_EQ(read.setup.model, "/data/");
  EXPECT_EQ(read.setup.block_tokens, 16);
}

TEST(ChartValues, OtherValuesAreRefusedWithWhatIsRead) {
  try {
    read_manifest("replicaCount: 1\nvllm: {model: a}\n", "x", "");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(error.fix().find("servingEngineSpec.modelSpec"), std::string::npos);
  }
}

}  // namespace
}  // namespace vramplan
