#include "planner/preempt_choice.h"

#include <gtest/gtest.h>

#include "cards.h"
#include "modelcards/library.h"
#include "planner/kv_cache.h"
#include "planner/preemption.h"

namespace vramplan {
namespace {

using namespace test;

PlanRequest six(PreemptRequest way) {
  PlanRequest request = ask(400, 6);
  request.output = 150_tokens;
  request.preempt = way;
  request.kv_pool = 1000_tokens;
  return request;
}

TEST(PreemptChoice, TheCheaperWayIsTakenAndTheOtherIsSaid) {
  DeviceCard device = cpu(1_GiB);
  const auto plan = [&](PreemptRequest way) { return plan_of(tiny(), device, six(way)); };
  const Plan swap = plan(PreemptRequest::kSwap), again = plan(PreemptRequest::kRecompute);
  ASSERT_TRUE(swap.predictions.preemption && again.predictions.preemption);
  EXPECT_GT(swap.predictions.preemption->counts.moved.n, 0);
  EXPECT_GT(again.predictions.preemption->counts.recomputed.n, 0);
  EXPECT_EQ(swap.predictions.preemption->other_seconds.v, again.predictions.preemption->seconds.v);
  // A memory that copies fast, and one that hardly does.
  EXPECT_EQ(plan(PreemptRequest::kAuto).decisions.preempt, Preempt::kSwap);
  device.memory_bytes_per_s = given(1e5);
  device.flops_per_s["f32"] = given(1e15);
  const Plan slow = plan(PreemptRequest::kAuto);
  const PreemptionPrediction& p = *slow.predictions.preemption;
  EXPECT_LE(p.seconds.v, p.other_seconds.v);
}

TEST(PreemptChoice, ThePoolIsWhatFitsAndThePlanThenFits) {
  PlanRequest request = six(PreemptRequest::kSwap);
  request.kv_pool = {};
  EXPECT_EQ(plan_of(tiny(), cpu(1_GiB), request).decisions.preempt, Preempt::kNone);  // all fit
  const Plan whole = plan_of(tiny(), cpu(1_GiB), request);
  const Bytes cache = kv_block_bytes(rank_model(tiny(), whole.decisions, {}, 0),
                                     whole.decisions.kv_format, whole.decisions.block) *
                      whole.decisions.kv_blocks.n;
  const DeviceCard small = cpu(whole.predictions.devices[0].predicted - Bytes{cache.n / 2});
  request.preempt = {};
  EXPECT_FALSE(plan_of(tiny(), small, request).predictions.fits);
  request.preempt = PreemptRequest::kSwap;
  const Plan plan = plan_of(tiny(), small, request);
  EXPECT_TRUE(plan.predictions.fits);
  EXPECT_EQ(plan.decisions.preempt, Preempt::kSwap);
  EXPECT_LT(plan.decisions.kv_blocks, whole.decisions.kv_blocks);
  EXPECT_GT(plan.decisions.kv_blocks.n, whole.decisions.kv_blocks.n / 3);
  EXPECT_LT(plan.predictions.preemption->mean_running, 6.0);
  // The plan file says the same again.
  const std::string text = write_plan(plan);
  const Plan back = read_plan(text, "plan.yaml");
  EXPECT_EQ(back.decisions.preempt, Preempt::kSwap);
  EXPECT_EQ(back.decisions.swap_blocks, plan.decisions.swap_blocks);
  EXPECT_EQ(back.predictions.preemption->counts, plan.predictions.preemption->counts);
  EXPECT_EQ(write_plan(back), text);
}

/// Steps of a GPU are captured by their number of rows, of which preemption makes several.
TEST(PreemptChoice, OnAGpuEveryNumberOfRowsThatComesTwiceIsAGraph) {
  PlanRequest request = six(PreemptRequest::kSwap);
  DeviceCard device = gpu_80gb();
  device.links = device_card("h100-sxm-80gb").links;
  const Plan plan = plan_of(tiny(), device, request);
  ASSERT_EQ(plan.decisions.preempt, Preempt::kSwap);
  const PreemptionForecast forecast = replay_preemption(plan.decisions);
  std::int64_t graphs = 0, steps = 0;
  for (const auto& [rows, count] : forecast.captured_steps(plan.decisions.batch)) {
    EXPECT_TRUE(rows == plan.decisions.batch || (rows & (rows - 1)) == 0) << rows;
    graphs += count > 1 ? 1 : 0;
    steps += count;
  }
  EXPECT_EQ(steps, forecast.steps);
  EXPECT_GT(graphs, 1);
  Bytes bytes;
  for (const LedgerRow& row : plan.predictions.ledger.rows()) {
    if (row.category == Category::kGraphs) bytes += row.bytes;
  }
  EXPECT_EQ(bytes.n % (graphs << 21), 0);
}

TEST(PreemptChoice, WhatDoesNotGoWithItIsRefusedByName) {
  const auto code = [](PlanRequest request, const DeviceCard& device, std::string* text) {
    return code_of([&] { plan_of(tiny(), device, request); }, text);
  };
  std::string text;
  PlanRequest request = six(PreemptRequest::kSwap);
  request.kv_pool = 300_tokens;  // less than one sequence
  EXPECT_EQ(code(request, cpu(1_GiB), &text), ErrorCode::kUsage);
  EXPECT_NE(text.find("--kv-pool"), std::string::npos);
  request = six(PreemptRequest::kSwap);
  request.samples = 2;
  EXPECT_EQ(code(request, cpu(1_GiB), &text), ErrorCode::kUnsupported);
  request = six(PreemptRequest::kSwap);
  request.kv_format = KvFormat::kKivi2;
  EXPECT_EQ(code(request, cpu(1_GiB), &text), ErrorCode::kUnsupported);
  request = six(PreemptRequest::kNone);
  EXPECT_EQ(code(request, cpu(1_GiB), &text), ErrorCode::kUsage);  // a pool and no way to share it
}

}  // namespace
}  // namespace vramplan
