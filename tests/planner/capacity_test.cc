#include "planner/capacity.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

RC_GTEST_PROP(Capacity, ThePlanAtTheLimitFitsAndOneMoreDoesNot, ()) {
  const ModelCard card = llama("any", {*rc::gen::inRange<std::int64_t>(1, 5), 64, 8, 2, 16, 128,
                                       *rc::gen::inRange<std::int64_t>(10, 500)});
  DeviceCard device = *rc::gen::arbitrary<bool>() ? cpu(1_GiB) : bare_gpu(1_GiB);
  device.capacity_bytes.value = *rc::gen::inRange<std::int64_t>(14 << 20, 40 << 20);
  PlanRequest request =
      ask(*rc::gen::inRange<std::int64_t>(2, 400), *rc::gen::inRange<std::int64_t>(1, 9));
  request.block_tokens = *rc::gen::element<std::int64_t>(1, 16, 32);
  request.prefill_chunk = Tokens{*rc::gen::inRange<std::int64_t>(8, 700)};
  const Plan plan = plan_of(card, device, request);
  const Capacity c = plan.predictions.capacity;
  const auto fits = [&](std::int64_t context, std::int64_t batch) {
    PlanRequest other = request;
    other.context = Tokens{context};
    other.output = std::min(plan.decisions.output, Tokens{context - 1});
    other.batch = batch;
    return plan_of(card, device, other).predictions.fits;
  };
  RC_ASSERT(c.max_context.n == 0 || fits(c.max_context.n, plan.decisions.batch));
  RC_ASSERT(!fits(std::max<std::int64_t>(2, c.max_context.n + plan.decisions.block.n),
                  plan.decisions.batch));
  RC_ASSERT(c.max_sequences == 0 || fits(plan.decisions.context.n, c.max_sequences));
  RC_ASSERT(!fits(plan.decisions.context.n, c.max_sequences + 1));
  RC_ASSERT(plan.predictions.fits == (c.max_sequences >= plan.decisions.batch));
  RC_ASSERT(plan.predictions.fits == (c.max_context >= plan.decisions.context));
}

TEST(Capacity, TokensOfTheCacheFillTheLeftOverMemoryToTheBlock) {
  const ModelCard card = tiny();
  const DeviceCard device = bare_gpu(64_MiB);
  const Plan plan = plan_of(card, device, ask(128, 2));
  const auto stages = stage_accounts(source_of(card), device, plan.decisions, {});
  const Bytes block = stages[0].kv_per_token * 16_tokens;
  const Bytes reservation = reservation_bytes(stages[0], plan.decisions);
  const Bytes others = reservation - round_up(kv_bytes(stages[0], plan.decisions), 256_B);
  const Bytes outside =
      stage_peak(stages[0], plan.decisions, device.kind) - round_up(reservation, kGpuPage);
  const std::int64_t blocks = plan.predictions.capacity.kv_tokens.n / 16;
  const auto peak = [&](std::int64_t n) {
    return outside + round_up(others + round_up(block * n, 256_B), kGpuPage);
  };
  EXPECT_GT(blocks, 0);
  EXPECT_LE(peak(blocks), 64_MiB);
  EXPECT_GT(peak(blocks + 1), 64_MiB);
}

TEST(Capacity, CrossoverOfCacheAndWeights) {
  const Plan plan = plan_of(llama_3_70b(), bare_gpu(200_GiB), ask(8192, 1));
  // ceil(141,107,412,992 / 327,680)
  EXPECT_EQ(plan.predictions.capacity.kv_equals_weights.n, 430'626);
}

TEST(Capacity, NothingFitsWhereTheWeightsDoNot) {
  const Plan plan = plan_of(llama_3_70b(), gpu_80gb(), ask(8192, 1));
  EXPECT_FALSE(plan.predictions.fits);
  EXPECT_EQ(plan.predictions.capacity.max_context.n, 0);
  EXPECT_EQ(plan.predictions.capacity.max_sequences, 0);
  EXPECT_EQ(plan.predictions.capacity.kv_tokens.n, 0);
}

}  // namespace
}  // namespace vramplan
