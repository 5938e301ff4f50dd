#include "planner/llamacpp_times.h"

#include <gtest/gtest.h>

#include "modelcards/library.h"

namespace vramplan {
namespace {

std::vector<RankModel> stages_of(const char* card, DType weights, int count = 1) {
  Decisions d;
  d.sharding.pp = d.device_count = count;
  d.weights = weights;
  std::vector<RankModel> out;
  const ModelCard model = model_card(card);
  for (int stage = 0; stage < count; ++stage) out.push_back(rank_model(model, d, {}, stage));
  return out;
}

LlamacppTimes times_of(const char* card, DType weights, const char* device, LlamacppLoad load,
                       int count = 1) {
  const auto stages = stages_of(card, weights, count);
  return llamacpp_times(llamacpp_terms(stages, device_card(device), load), llamacpp_rates());
}

// Llama 3 70B: 69.5e9 weights in layers and head, 1.125e18 / 2e12 ... by hand: a step in f16 reads
// 2 bytes of each, and of 1,000 tokens of cache 4 x 1,024 x 80 bytes each.
TEST(LlamacppTimes, AStepReadsEveryWeightOnceAndTheCache) {
  const auto stages = stages_of("llama-3-70b", DType::kF16);
  const DeviceCard device = device_card("a100-sxm-80gb");
  const LlamacppTerms t = llamacpp_terms(stages, device, {{1000}, {0}});
  const double layer = 2.0 * 8192 * 8192 + 2.0 * 8192 * 1024 + 3.0 * 8192 * 28672;
  const double weights = 80 * layer + 128256.0 * 8192;
  EXPECT_NEAR(t.step_bytes * 2.039e12, 2 * weights + 1000.0 * 80 * 2 * 2 * 1024, 1e6);
  EXPECT_EQ(t.step_quantised, 0);
  EXPECT_NEAR(t.step_plain, weights / integer_ops_per_s(device), 1e-9);  // 64 lanes for both
}

// The prompt's weights are unpacked and read again for every 512 tokens: 513 take two.
TEST(LlamacppTimes, EachUbatchUnpacksTheWeightsAgain) {
  const auto stages = stages_of("llama-3-70b", DType::kQ4_K);
  const DeviceCard device = device_card("l40s-48gb");
  const LlamacppTerms one = llamacpp_terms(stages, device, {{512}, {0}});
  const LlamacppTerms two = llamacpp_terms(stages, device, {{513}, {0}});
  EXPECT_DOUBLE_EQ(two.unpacked, 2 * one.unpacked);
  EXPECT_DOUBLE_EQ(two.weights, 2 * one.weights);
  EXPECT_NEAR(two.flops / one.flops, 513.0 / 512, 0.01);
  EXPECT_EQ(llamacpp_terms(stages_of("llama-3-70b", DType::kF16), device, {{512}, {0}}).unpacked,
            0);
  LlamacppLoad flash{{512}, {0}};
  flash.flash_attention = true;
  EXPECT_EQ(llamacpp_terms(stages, device, flash).scores, 0);
  EXPECT_GT(one.scores, 0);
}

// Q4_K is read twice as fast on an A100 by its bandwidth as on an RTX 4090; its lanes bind it.
TEST(LlamacppTimes, LanesBindAnA100AndNoAda) {
  const LlamacppLoad load{{0}, {1000}};
  const double a100 = times_of("llama-3-70b", DType::kQ4_K, "a100-sxm-80gb", load).step.v;
  const double ada = times_of("llama-3-70b", DType::kQ4_K, "rtx-4090-24gb", load).step.v;
  EXPECT_LT(ada / a100, 1.7);
  EXPECT_GT(ada / a100, 1.0);
}

TEST(LlamacppTimes, TwoUbatchesOverlapBetweenDevicesAndOneDoesNot) {
  const auto prompt = [](std::int64_t tokens, int count) {
    return times_of("llama-3-70b", DType::kF16, "a40-48gb", {{tokens}, {0}}, count).prompt.v;
  };
  EXPECT_NEAR(prompt(512, 4), prompt(512, 1), 1e-9);
  EXPECT_LT(prompt(1024, 4), 0.8 * prompt(1024, 1));
  EXPECT_GT(prompt(1024, 4), 0.625 * prompt(1024, 1) - 1e-9);  // 5 of 8 at best
}

TEST(LlamacppTimes, WhatNoRowShowsIsRefusedByName) {
  const LlamacppLoad load{{512}, {128}};
  const auto refused = [&](const std::vector<RankModel>& stages, const char* device) {
    try {
      llamacpp_terms(stages, device_card(device), load);
    } catch (const Error& error) {
      return error.code() == ErrorCode::kUnsupported;
    }
    return false;
  };
  EXPECT_TRUE(refused(stages_of("qwen3-30b-a3b", DType::kQ4_K), "rtx-4090-24gb"));
  EXPECT_TRUE(refused(stages_of("llama-3-70b", DType::kQ4_K), "mi300x-192gb"));
  EXPECT_FALSE(refused(stages_of("llama-3-70b", DType::kQ4_K), "rtx-4090-24gb"));
}

}  // namespace
}  // namespace vramplan
