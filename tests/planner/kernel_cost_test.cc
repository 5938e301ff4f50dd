#include "planner/kernel_cost.h"

#include <gtest/gtest.h>

#include "modelcards/error.h"
#include "modelcards/library.h"

namespace vramplan {
namespace {

TEST(KernelCost, AddsCallsUnitsAndTheLongerOfBytesAndFlops) {
  KernelCost cost;
  cost.call_s = 1;
  cost.each_s = 2;
  cost.memory = 0.5;
  cost.compute = 0.25;
  cost.power = 1;
  EXPECT_DOUBLE_EQ(cost.seconds(3, 5, 7), 1 + 14 + 6 + 20);
  cost.power = 100;  // nearly the longer of the two
  EXPECT_NEAR(cost.seconds(3, 5, 7), 1 + 14 + 20, 1e-6);
  EXPECT_DOUBLE_EQ(cost.work_seconds(0, 0, 3), 6);
}

// Published: a bf16 product of one row reaches 4.30 of 4.8 TB/s with 0.5 GB of weights or more
// (aiconfigurator kernel tables measured on H200), and large ones 780 to 830 of 989 TFLOP/s.
TEST(KernelCost, LargeProductsAreAsFastAsPublished) {
  const KernelCost cost =
      kernel_cost(KernelOp::kGemm, EngineKind::kTrtllm, device_card("h200-sxm-141gb"), "bf16");
  const double bytes = 2.0 * 32768 * 8192;
  const double rate = bytes / cost.seconds(bytes / 4.8e12, 0, 8192);
  EXPECT_GT(rate, 3.7e12);
  EXPECT_LT(rate, 4.5e12);
  const double n = 8192, flops = 2 * n * n * n;
  const double peak = flops / cost.seconds(3 * 2 * n * n / 4.8e12, flops / 9.89e14, n);
  EXPECT_GT(peak, 7.0e14);
  EXPECT_LT(peak, 8.4e14);
}

TEST(KernelCost, EveryEngineHasEveryOperationOnThreeDevices) {
  for (const EngineKind engine : {EngineKind::kVllm, EngineKind::kSglang, EngineKind::kTrtllm}) {
    for (const char* name : {"h100-sxm-80gb", "h200-sxm-141gb", "b200-sxm-180gb"}) {
      for (const KernelOp op :
           {KernelOp::kGemm, KernelOp::kAttentionPrefill, KernelOp::kAttentionDecode,
            KernelOp::kLatentPrefill, KernelOp::kLatentDecode, KernelOp::kExperts}) {
        const KernelCost cost = kernel_cost(op, engine, device_card(name), "bf16");
        EXPECT_FALSE(cost.other_device) << name;
        EXPECT_FALSE(cost.source.empty());
        EXPECT_LT(cost.error, 0.3) << name_of(op) << " " << name;
      }
      EXPECT_GT(kernel_cost(KernelOp::kAllReduce, engine, device_card(name), "bf16", 8).call_s, 0);
    }
  }
}

TEST(KernelCost, ADeviceWithoutRowsTakesItsGeneration) {
  const KernelCost a100 =
      kernel_cost(KernelOp::kGemm, EngineKind::kVllm, device_card("a100-sxm-80gb"), "bf16");
  const KernelCost h200 =
      kernel_cost(KernelOp::kGemm, EngineKind::kVllm, device_card("h200-sxm-141gb"), "bf16");
  EXPECT_TRUE(a100.other_device);
  EXPECT_DOUBLE_EQ(a100.compute, h200.compute);
  EXPECT_EQ(
      kernel_cost(KernelOp::kGemm, EngineKind::kVllm, device_card("b300-sxm-288gb"), "nvfp4").dtype,
      "nvfp4");
}

TEST(KernelCost, AnEngineWithoutKernelsIsRefusedByName) {
  try {
    kernel_cost(KernelOp::kGemm, EngineKind::kLlamacpp, device_card("h200-sxm-141gb"), "bf16");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  }
}

}  // namespace
}  // namespace vramplan
