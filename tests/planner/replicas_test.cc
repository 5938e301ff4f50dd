#include "planner/replicas.h"

#include <gtest/gtest.h>

#include "tests/planner/cards.h"

namespace vramplan {
namespace {

using namespace test;

Plan plan_with(std::int64_t replicas, const DeviceCard& device) {
  PlanRequest request = ask(64, 2);
  request.output = Tokens{16};
  request.threads = 2;
  request.replicas = replicas;
  return plan_of(tiny(), device, request);
}

Bytes bytes_of(const Plan& plan, Category category, const std::string& name = {}) {
  Bytes sum;
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    if (row.category == category && (name.empty() || row.name == name)) sum += row.bytes;
  }
  return sum;
}

TEST(Replicas, WeightsCountOnceAndCachesOnceAReplica) {
  const DeviceCard device = cpu(64_GiB);
  const Plan one = plan_with(1, device), four = plan_with(4, device);
  EXPECT_EQ(bytes_of(four, Category::kWeights), bytes_of(one, Category::kWeights));
  EXPECT_EQ(bytes_of(four, Category::kKvCache), bytes_of(one, Category::kKvCache) * 4);
  EXPECT_EQ(bytes_of(four, Category::kActivations), bytes_of(one, Category::kActivations) * 4);
  EXPECT_EQ(bytes_of(four, Category::kRuntime, "process base"),
            bytes_of(one, Category::kRuntime, "process base"));
  EXPECT_EQ(bytes_of(one, Category::kRuntime, "replicas"), 0_B);
  EXPECT_EQ(bytes_of(four, Category::kRuntime, "replicas"), kReplicaBase * 4);
  EXPECT_EQ(four.predictions.totals.kv_bytes, one.predictions.totals.kv_bytes * 4);
}

TEST(Replicas, WhatTheCardMeasuredTakesThePlaceOfTheAssumption) {
  DeviceCard device = cpu(64_GiB);
  device.replica_base_bytes = given<std::int64_t>(3'000'000);
  EXPECT_EQ(bytes_of(plan_with(3, device), Category::kRuntime, "replicas").n, 9'000'000);
}

/// Everything is shared but the spacing of calls: a replica waits for bytes and flops of all.
TEST(Replicas, TimesGrowByTheShareAndRatesAreThoseOfAll) {
  DeviceCard device = cpu(64_GiB);
  device.launch_s = given(0.0);
  const Performance one = plan_with(1, device).predictions.performance;
  const Performance four = plan_with(4, device).predictions.performance;
  EXPECT_NEAR(four.tpot.v, 4 * one.tpot.v, 1e-12);
  EXPECT_NEAR(four.ttft.v, 4 * one.ttft.v, 1e-12);
  EXPECT_NEAR(four.tokens_per_second, one.tokens_per_second, 1e-6 * one.tokens_per_second);
  device.launch_s = given(1e-3);
  const Performance slow = plan_with(1, device).predictions.performance;
  EXPECT_NEAR(plan_with(4, device).predictions.performance.tpot.v - slow.tpot.v, 3 * one.tpot.v,
              1e-9);
}

TEST(Replicas, ThreadsAreDividedAmongThem) {
  PlanRequest request = ask(64, 2);
  request.replicas = 2;
  EXPECT_EQ(plan_of(tiny(), cpu(64_GiB), request).decisions.threads, 2) << "of 4 cores";
  request.replicas = 9;
  EXPECT_EQ(plan_of(tiny(), cpu(64_GiB), request).decisions.threads, 1);
}

TEST(Replicas, LimitsAreWhatFitsAndOneMoreDoesNot) {
  DeviceCard device = cpu(64_GiB);
  PlanRequest request = ask(64, 2);
  request.replicas = 3;
  request.capacity = 16_MiB + kReplicaBase * 3;
  const Plan plan = plan_of(tiny(), device, request);
  ASSERT_TRUE(plan.predictions.fits);
  const std::int64_t most = plan.predictions.capacity.max_sequences;
  request.batch = most;
  EXPECT_TRUE(plan_of(tiny(), device, request).predictions.fits);
  request.batch = most + 1;
  EXPECT_FALSE(plan_of(tiny(), device, request).predictions.fits);
}

TEST(Replicas, WhatHasOneOwnerIsRefusedByName) {
  const auto refused = [](const char* what, const DeviceCard& device, auto change) {
    PlanRequest request = ask(64, 2);
    request.replicas = 2;
    change(request);
    std::string text;
    EXPECT_EQ(code_of([&] { plan_of(tiny(), device, request); }, &text), ErrorCode::kUnsupported);
    EXPECT_NE(text.find(what), std::string::npos) << text;
  };
  const DeviceCard here = cpu(64_GiB);
  DeviceCard alone = here;
  alone.kind = DeviceKind::kSram;
  refused("one process", alone, [](PlanRequest&) {});
  refused("cache beyond the device", here, [](PlanRequest& r) {
    r.kv_placement = KvPlacement::kHost;
    r.kv_offload_layers = KvOffload{1, 1};
  });
  refused("matrices in host memory", here, [](PlanRequest& r) {
    r.weight_offload_layers = WeightOffload{2, 1};
  });
  refused("hidden states", here, [](PlanRequest& r) { r.activation_offload = true; });
  PlanRequest none = ask(64, 2);
  none.replicas = 0;
  EXPECT_EQ(code_of([&] { plan_of(tiny(), here, none); }), ErrorCode::kUsage);
  none.replicas = kMostReplicas + 1;
  EXPECT_EQ(code_of([&] { plan_of(tiny(), here, none); }), ErrorCode::kUsage);
}

TEST(Replicas, ThePlanFileKeepsTheirNumber) {
  const Plan plan = plan_with(4, cpu(64_GiB));
  EXPECT_EQ(read_plan(write_plan(plan), "plan.yaml").decisions.replicas, 4);
}

}  // namespace
}  // namespace vramplan
