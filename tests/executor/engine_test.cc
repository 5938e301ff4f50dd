#include "executor/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "executor/tokenizer.h"
#include "modelcards/library.h"
#include "planner/plan.h"
#include "tests/executor/tiny_model.h"

namespace vramplan {
namespace {

TEST(Engine, BackendsAreNamed) {
  const ModelCard card = tiny_card();
  const Decisions decisions = tiny_decisions(card, 10, 2);
  const auto code = [&](const std::string& backend) {
    try {
      run_plan(decisions, source_of(card), {}, backend, {});
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  const ErrorCode cuda = code("cuda");  // kUsage where there is a device and kernels for it
  EXPECT_TRUE(cuda == ErrorCode::kNoDevice || cuda == ErrorCode::kUnsupported ||
              cuda == ErrorCode::kUsage);
  EXPECT_EQ(code("abacus"), ErrorCode::kUsage);
  EXPECT_EQ(code("cpu"), ErrorCode::kUsage);  // a card has no weights, and none were asked for
}

/// The CPU operations against the reference ones, through the whole model.
TEST(Engine, CpuLogitsAreTheReferences) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    ModelCard card = tiny_card(3);
    card.hidden = 64;
    card.stored_weights = dtype;
    for (Layer& layer : card.layers) {
      layer.mixer.head_dim = layer.mixer.value_dim = 16;
      layer.mixer.rope.rotary_dim = 16;
      layer.mixer.qk_norm = layer.mixer.qkv_bias = true;
      layer.feed_forward.intermediate = 96;
    }
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 33; ++i) ids.push_back(i * 7 % 40);
    Decisions decisions = tiny_decisions(card, 40, 1);
    decisions.prefill_chunk = Tokens{16};
    ReferenceBackend reference;
    const auto wanted = prompt_logits(decisions, source_of(card), reference, ids, true);
    for (const int threads : {1, 2}) {
      decisions.threads = threads;
      const auto backend = make_cpu_backend(threads, 1_GiB);
      const auto got = prompt_logits(decisions, source_of(card), *backend, ids, true);
      ASSERT_EQ(got.size(), wanted.size());
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 1e-4) << i;
    }
  }
}

TEST(Engine, CpuLogitsAreTheReferencesForEveryFamily) {
  const std::vector<std::int32_t> ids{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2};
  for (const auto& [name, card] : tiny_families()) {
    SCOPED_TRACE(name);
    Decisions decisions = tiny_decisions(card, 20, 1);
    decisions.prefill_chunk = Tokens{7};
    for (const AttentionAlgorithm algorithm :
         {AttentionAlgorithm::kTiled, AttentionAlgorithm::kNaive}) {
      decisions.attention = algorithm;
      ReferenceBackend reference;
      const auto cpu = make_cpu_backend(1, 1_GiB);
      const auto wanted = prompt_logits(decisions, source_of(card), reference, ids, true);
      const auto got = prompt_logits(decisions, source_of(card), *cpu, ids, true);
      ASSERT_EQ(got.size(), wanted.size());
      for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 1e-4) << i;
    }
  }
}

/// Every block format runs with random blocks to finite logits, chunked or not to the same ones.
TEST(Engine, EveryWeightFormatRunsOnTheCpu) {
  ModelCard card = tiny_card();
  card.hidden = 256;
  for (Layer& layer : card.layers) {
    layer.mixer.head_dim = layer.mixer.value_dim = 64;
    layer.mixer.rope.rotary_dim = 64;
    layer.feed_forward.intermediate = 256;
  }
  const std::vector<std::int32_t> ids{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,
                            DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
    SCOPED_TRACE(info(dtype).name);
    Decisions decisions = tiny_decisions(card, 12, 1);
    decisions.weights = dtype;
    const auto logits = [&](std::int64_t chunk) {
      decisions.prefill_chunk = Tokens{chunk};
      const auto backend = make_cpu_backend(1, 1_GiB);
      return prompt_logits(decisions, source_of(card), *backend, ids, true);
    };
    const auto whole = logits(12), chunked = logits(4);
    double squares = 0;
    for (std::size_t i = 0; i < whole.size(); ++i) {
      ASSERT_NEAR(whole[i], chunked[i], 1e-3);
      squares += static_cast<double>(whole[i]) * whole[i];
    }
    // Random blocks are scaled so that a product keeps the size of its input.
    const double deviation = std::sqrt(squares / static_cast<double>(whole.size()));
    EXPECT_GT(deviation, 0.3);
    EXPECT_LT(deviation, 3);
  }
}

TEST(Engine, TheCpuTakesWhatThePlanOfItsCardSays) {
  ModelSource source;
  source.card = model_card("smollm2-135m");
  set_field(source.card, "layer_count=2");
  const DeviceCard device = device_card("cpu-generic");
  PlanRequest ask;
  ask.model = "smollm2-135m";
  ask.device = "cpu-generic";
  ask.context = Tokens{80};
  ask.output = Tokens{8};
  ask.batch = 2;
  ask.prefill_chunk = Tokens{32};
  ask.threads = 2;
  const Plan plan = make_plan(source, device, ask);
  RunRequest request;
  request.random_weights = true;
  const Measurement m = run_plan(plan.decisions, source, device, "cpu", request);
  int compared = 0;
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    if (row.name == "process base" || row.name == "tokenizer") continue;
    for (const LedgerRow& seen : m.observed.rows()) {
      if (seen.category != row.category || seen.name != row.name || seen.phase != row.phase)
        continue;
      EXPECT_EQ(seen.bytes, row.bytes) << row.name;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 8);
  // The system saw at least the tensors, and not much more than the process and the tensors.
  if (m.process_peak.n == 0) GTEST_SKIP() << "this system does not say what a process holds";
  EXPECT_LT(std::abs(m.capacity[0].unaccounted.n), (8_MiB).n) << to_text(m.capacity[0].unaccounted);
  EXPECT_FALSE(m.environment.cpu.empty());
}

TEST(RealEngine, GreedyTextIsCoherent) {
  const char* const path = std::getenv("VRAMPLAN_TEST_MODEL");
  if (path == nullptr) GTEST_SKIP() << "set VRAMPLAN_TEST_MODEL to a SmolLM2 GGUF file";
  const ModelSource source = open_model(path);
  const auto tokenizer = Tokenizer::from_gguf(*source.gguf);
  const auto prompt = tokenizer->encode("The capital of France is", true);
  PlanRequest ask;
  ask.model = path;
  ask.device = "cpu-generic";
  ask.output = Tokens{24};
  ask.context = Tokens{static_cast<std::int64_t>(prompt.size()) + 24};
  ask.batch = 1;
  ask.threads = 2;
  const DeviceCard device = device_card("cpu-generic");
  const Plan plan = make_plan(source, device, ask);
  RunRequest request;
  request.prompts = {prompt};
  const Measurement m = run_plan(plan.decisions, source, device, "cpu", request);
  const std::string text = tokenizer->decode(m.output[0]);
  EXPECT_NE(text.find("Paris"), std::string::npos) << text;
  std::printf("text: %s\nttft %.4f s, tpot %.5f s, unaccounted %s\n", text.c_str(),
              m.timings.ttft.v, m.timings.tpot.v, to_text(m.capacity[0].unaccounted).c_str());
}

}  // namespace
}  // namespace vramplan
