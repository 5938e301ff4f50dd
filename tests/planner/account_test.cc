#include "planner/account.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cards.h"

namespace vramplan {
namespace {

using namespace test;

ModelCard any_card() {
  ModelCard card = llama(
      "any",
      {*rc::gen::inRange<std::int64_t>(2, 6), 64, 8, *rc::gen::element<std::int64_t>(1, 2, 4, 8),
       16, 32 * *rc::gen::inRange<std::int64_t>(1, 9), *rc::gen::inRange<std::int64_t>(10, 5000)});
  card.tied_head = *rc::gen::arbitrary<bool>();
  return card;
}

PlanRequest any_request() {
  PlanRequest request = ask(*rc::gen::inRange<std::int64_t>(2, 3000),
                            *rc::gen::inRange<std::int64_t>(1, 20), *rc::gen::element(1, 2));
  request.prefill_chunk = Tokens{*rc::gen::inRange<std::int64_t>(1, 700)};
  request.attention = *rc::gen::element(AttentionAlgorithm::kTiled, AttentionAlgorithm::kNaive);
  return request;
}

DeviceCard any_device() { return *rc::gen::arbitrary<bool>() ? gpu_80gb() : cpu(64_GiB); }

// The account is arithmetic over stages, the ledger is rows over ranks: two ways to one number.
RC_GTEST_PROP(Account, PeakOfTheAccountIsPeakOfTheLedger, ()) {
  const ModelCard card = any_card();
  const DeviceCard device = any_device();
  PlanRequest request = any_request();
  if (device.kind == DeviceKind::kCpu) {
    request.count = 1;
    request.replicas = *rc::gen::inRange<std::int64_t>(1, 5);
  }
  const Plan plan = plan_of(card, device, request);
  const auto stages = stage_accounts(source_of(card), device, plan.decisions, {});
  for (const StageAccount& stage : stages) {
    RC_ASSERT(stage_peak(stage, plan.decisions, device.kind) ==
              plan.predictions.ledger.peak(stage.model.shape.rank, TierKind::kDevice));
  }
  for (const DevicePrediction& d : plan.predictions.devices) {
    RC_ASSERT(d.predicted == plan.predictions.ledger.peak(d.rank, TierKind::kDevice));
    RC_ASSERT(d.headroom == d.capacity - d.predicted);
  }
}

RC_GTEST_PROP(Account, LongerContextsAndLargerBatchesNeverTakeLess, ()) {
  const ModelCard card = any_card();
  const DeviceCard device = any_device();
  Decisions d = decisions_of();
  d.activations = device.kind == DeviceKind::kCpu ? DType::kF32 : DType::kBF16;
  const auto stages = stage_accounts(source_of(card), device, d, {});
  const Tokens context{*rc::gen::inRange<std::int64_t>(20, 2000)};
  const std::int64_t batch = *rc::gen::inRange<std::int64_t>(1, 40);
  const Decisions here = with_batch(with_context(d, context), batch);
  const Bytes peak = largest_peak(stages, here, device.kind);
  RC_ASSERT(largest_peak(stages, with_context(here, context + 1_tokens), device.kind) >= peak);
  const Bytes more = largest_peak(stages, with_batch(here, batch + 1), device.kind);
  // A GPU's reservation grows by whole pages.
  const bool in_pages = device.kind == DeviceKind::kGpu;
  RC_ASSERT(more > peak || (in_pages && more == peak));
}

TEST(Account, AShorterContextLeavesRoomForAPrompt) {
  Decisions d = decisions_of();
  d.batch = 3;
  const Decisions small = with_context(d, 10_tokens);
  EXPECT_EQ(small.output.n, 9);
  EXPECT_EQ(small.kv_blocks.n, 3);
  EXPECT_EQ(with_context(d, 1000_tokens).output, d.output);
  EXPECT_EQ(with_batch(d, 5).kv_blocks.n, 20);
}

TEST(Account, PoolsOfWindowsFollowContextAndBatch) {
  ModelCard card = llama("windowed", {4, 64, 8, 2, 16, 128, 500});
  for (std::size_t i = 0; i < card.layers.size(); i += 2) card.layers[i].mixer.window_tokens = 64;
  PlanRequest request = ask(300, 2);
  const Decisions small = plan_of(card, gpu_80gb(), request).decisions;
  request.batch = 7;
  EXPECT_EQ(with_batch(small, 7).window_pools,
            plan_of(card, gpu_80gb(), request).decisions.window_pools);
  EXPECT_NE(with_batch(small, 7).window_pools, small.window_pools);
  request = ask(40, 2);
  const Decisions shorter = plan_of(card, gpu_80gb(), request).decisions;
  EXPECT_EQ(with_context(small, 40_tokens).window_pools, shorter.window_pools);
}

}  // namespace
}  // namespace vramplan
