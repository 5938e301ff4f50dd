// The whole engine on a device against the CPU backend: the same checkpoint, the same greedy texts.
#include "executor/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "executor/run_cuda.h"
#include "executor/run_local.h"
#include "executor/tokenizer.h"
#include "gpu_memory.h"
#include "modelcards/library.h"

namespace vramplan {
namespace {

constexpr std::int64_t kAnswer = 64;  // tokens
constexpr const char* kPrompts[] = {"The capital of France is", "1, 2, 3, 4, 5, 6,",
                                    "def fibonacci(n):", "Once upon a time"};

/// f32 activations and cache, inputs of linear layers unrounded: both sides do the same arithmetic
/// up to the order of sums. A chunk shorter than the prompt, so that prefill meets a cache.
Decisions decisions_for(const ModelSource& source, std::int64_t longest) {
  Decisions decisions;
  decisions.model = source.path;
  decisions.card_hash = card_hash(source.card);
  decisions.kv_format = KvFormat::kF32;
  decisions.activations = DType::kF32;
  decisions.linear_inputs = DType::kF32;
  decisions.context = Tokens{longest + kAnswer};
  decisions.output = Tokens{kAnswer};
  decisions.batch = static_cast<std::int64_t>(std::size(kPrompts));
  decisions.prefill_chunk = Tokens{4};
  decisions.kv_blocks = blocks_for(decisions.context, decisions.block) * decisions.batch;
  decisions.threads = 2;
  decisions.capacity = 4_GiB;
  return decisions;
}

class GpuEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string why = cuda_test::why_no_device();
    if (!why.empty()) GTEST_SKIP() << why;
    const char* const path = std::getenv("VRAMPLAN_TEST_MODEL");
    if (path == nullptr) GTEST_SKIP() << "VRAMPLAN_TEST_MODEL names no SmolLM2-135M GGUF file";
    source = open_model(path);
    const auto tokenizer = Tokenizer::from_gguf(*source.gguf);
    std::size_t longest = 0;
    for (const char* prompt : kPrompts) {
      request.prompts.push_back(tokenizer->encode(prompt, true));
      longest = std::max(longest, request.prompts.back().size());
    }
    decisions = decisions_for(source, static_cast<std::int64_t>(longest));
    DeviceCard cpu;
    cpu.kind = DeviceKind::kCpu;
    wanted = run_local(decisions, source, cpu, request, [&](Bytes capacity) {
               return make_cpu_backend(decisions.threads, capacity, decisions.linear_inputs);
             }).output;
  }

  void expect_same_texts() {
    const Measurement observed =
        run_cuda(decisions, source, device_card("h200-sxm-141gb"), request);
    const auto tokenizer = Tokenizer::from_gguf(*source.gguf);
    ASSERT_EQ(observed.output.size(), wanted.size());
    for (std::size_t s = 0; s < wanted.size(); ++s) {
      ASSERT_EQ(wanted[s].size(), static_cast<std::size_t>(kAnswer));
      EXPECT_EQ(observed.output[s], wanted[s])
          << kPrompts[s] << "\n  cpu: " << tokenizer->decode(wanted[s])
          << "\n cuda: " << tokenizer->decode(observed.output[s]);
    }
  }

  ModelSource source;
  RunRequest request;
  Decisions decisions;
  std::vector<std::vector<std::int32_t>> wanted;
};

TEST_F(GpuEngine, SixtyFourGreedyTokensAreTheCpuBackends) { expect_same_texts(); }

TEST_F(GpuEngine, TheyAreTheSameWithoutGraphs) {
  request.cuda.graphs = false;
  expect_same_texts();
}

TEST_F(GpuEngine, TheyAreTheSameWithScoresInMemory) {
  decisions.attention = AttentionAlgorithm::kNaive;
  expect_same_texts();
}

}  // namespace
}  // namespace vramplan
