#include "planner/offload_worth.h"

#include <gtest/gtest.h>

#include "modelcards/library.h"
#include "planner/latency.h"

namespace vramplan {
namespace {

ModelSource llama() {
  ModelSource source;
  source.card = model_card("llama-3.1-8b");
  return source;
}

PlanRequest asked(KvPlacement placement) {
  PlanRequest request;
  request.context = Tokens{32768};
  request.output = Tokens{128};
  request.kv_placement = placement;
  if (placement != KvPlacement::kDevice) request.kv_offload = 0.8;
  return request;
}

TEST(OffloadWorth, IsSaidOfPlansThatKeepBytesBeyondTheDeviceAlone) {
  const DeviceCard device = device_card("h100-sxm-80gb");
  EXPECT_FALSE(make_plan(llama(), device, asked(KvPlacement::kDevice)).predictions.offload);
  PlanRequest weights = asked(KvPlacement::kDevice);
  weights.weight_offload = 0.5;
  const Plan streamed = make_plan(llama(), device, weights);
  ASSERT_TRUE(streamed.predictions.offload);
  EXPECT_GT(streamed.predictions.offload->slowdown, 1);
  EXPECT_EQ(streamed.predictions.offload->cache, Bytes{});
}

TEST(OffloadWorth, ComparesWithTheSamePlanOnTheDevice) {
  const DeviceCard device = device_card("h100-sxm-80gb");
  const Predictions near = make_plan(llama(), device, asked(KvPlacement::kDevice)).predictions,
                    far = make_plan(llama(), device, asked(KvPlacement::kHost)).predictions;
  ASSERT_TRUE(far.offload);
  EXPECT_DOUBLE_EQ(far.offload->device_tpot.v, near.performance.tpot.v);
  EXPECT_DOUBLE_EQ(far.offload->slowdown, far.performance.tpot.v / near.performance.tpot.v);
  EXPECT_DOUBLE_EQ(far.offload->recompute.v, near.performance.ttft.v);
  // 32 layers x 8 heads x 128 elements x 2 x 2 bytes = 131072 bytes a token of the prompt.
  EXPECT_EQ(far.offload->cache, Bytes{std::int64_t{131072} * (32768 - 128)});
}

/// At the break-even rate both ways take as long; the link's latency counts once a layer.
TEST(OffloadWorth, BreakEvenIsTheLinkAtWhichBothTakeAsLong) {
  DeviceCard device = device_card("h100-sxm-80gb");
  for (Link& link : device.links) {
    if (link.kind == LinkKind::kPcie) link.latency_s.value = 1e-4;
  }
  const OffloadPrediction first =
      *make_plan(llama(), device, asked(KvPlacement::kHost)).predictions.offload;
  EXPECT_LT(first.reload.v, first.recompute.v);
  for (Link& link : device.links) {
    if (link.kind == LinkKind::kPcie) link.bytes_per_s.value = first.break_even.v;
  }
  const OffloadPrediction even =
      *make_plan(llama(), device, asked(KvPlacement::kHost)).predictions.offload;
  EXPECT_NEAR(even.reload.v, even.recompute.v, 1e-9 * even.recompute.v);
  EXPECT_NEAR(even.reload.v - 32 * 1e-4, static_cast<double>(even.cache.n) / first.break_even.v,
              1e-9);
}

TEST(OffloadWorth, ReadsBackFromAPlanFile) {
  const Plan plan = make_plan(llama(), device_card("h100-sxm-80gb"), asked(KvPlacement::kHost));
  const auto read = read_plan(write_plan(plan), "plan.yaml").predictions.offload;
  ASSERT_TRUE(read);
  const OffloadPrediction& given = *plan.predictions.offload;
  EXPECT_EQ(read->device_tpot.v, given.device_tpot.v);
  EXPECT_EQ(read->slowdown, given.slowdown);
  EXPECT_EQ(read->cache, given.cache);
  EXPECT_EQ(read->reload.v, given.reload.v);
  EXPECT_EQ(read->recompute.v, given.recompute.v);
  EXPECT_EQ(read->break_even.v, given.break_even.v);
}

}  // namespace
}  // namespace vramplan
