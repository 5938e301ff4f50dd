#include "planner/engines/container.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

TEST(Container, AnImageOfAnEnginesProjectSaysItsVersion) {
  EXPECT_EQ(engine_version_of("vllm/vllm-openai:v0.9.1"), "0.9.1");
  EXPECT_EQ(engine_version_of("docker.io/lmsysorg/sglang:v0.5.2-cu126"), "0.5.2");
  EXPECT_EQ(engine_version_of("nvcr.io/nvidia/tensorrt-llm/release:1.1.0rc5"), "1.1.0rc5");
  EXPECT_EQ(engine_version_of("ghcr.io/ggml-org/llama.cpp:server-cuda-b6000"), "b6000");
  for (const char* image : {"vllm/vllm-openai:latest", "lmcache/vllm-openai:v0.3.1", "a", "",
                            "ghcr.io/ggml-org/llama.cpp:server-cuda"}) {
    EXPECT_EQ(engine_version_of(image), "") << image;
  }
}

TEST(Container, TheEnvironmentIsFilledInOrder) {
  const YamlNode node = YamlNode::parse(R"(env:
- {name: A, value: "1"}
- {name: B, value: "$(A)2"}
- {name: C, valueFrom: {configMapKeyRef: {name: m, key: k}}}
- {name: D, valueFrom: {secretKeyRef: {name: m, key: k}}}
envFrom: [{prefix: P_, configMapRef: {name: m}}]
)",
                                        "x");
  const Variables out = environment_of(node, {{"m", {{"k", "v"}}}}, {{"D", "old"}});
  EXPECT_EQ(out, (Variables{{"A", "1"}, {"B", "12"}, {"C", "v"}, {"P_k", "v"}}));
}

}  // namespace
}  // namespace vramplan
