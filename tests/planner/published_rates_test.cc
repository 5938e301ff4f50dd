#include "planner/published_rates.h"

#include <gtest/gtest.h>

#include "modelcards/library.h"

namespace vramplan {
namespace {

TEST(PublishedRates, AnOldReleaseHasHostWorkAndANewOneHasNone) {
  const ServedRates old =
      served_rates(EngineKind::kVllm, "0.6.3", "a100-sxm-80gb", Quantization::kNone);
  EXPECT_GT(old.step_s, 1e-4);
  EXPECT_LT(old.step_s, 1e-2);
  EXPECT_LT(old.memory, 1);
  const ServedRates recent =
      served_rates(EngineKind::kVllm, "0.19.0", "h200-sxm-141gb", Quantization::kNone);
  EXPECT_EQ(recent.step_s, 0);
  EXPECT_EQ(recent.memory, 1);
  EXPECT_EQ(recent.expert_layer_s, 0);
  const ServedRates other =
      served_rates(EngineKind::kSglang, "0.6.3", "a100-sxm-80gb", Quantization::kNone);
  EXPECT_EQ(other.step_s, 0) << "another engine's release of the same number";
}

TEST(PublishedRates, ExpertsWithoutAFusedKernelAreOfOneReleaseAndFormat) {
  EXPECT_GT(served_rates(EngineKind::kSglang, "0.4.6.post1", "h20-sxm-96gb", Quantization::kInt4)
                .expert_layer_s,
            1e-4);
  EXPECT_EQ(
      served_rates(EngineKind::kSglang, "0.4.6.post1", "h20-sxm-96gb", Quantization::kFp8Block)
          .expert_layer_s,
      0);
}

// A100: 108 x 64 lanes at 1.41 GHz; RTX 4090: 128 x 64 (of its 128 for f32) at 2.52 GHz.
TEST(PublishedRates, LanesFollowFromTheCard) {
  const DeviceCard a100 = device_card("a100-sxm-80gb"), ada = device_card("rtx-4090-24gb");
  EXPECT_EQ(float_lanes(a100), 64);
  EXPECT_EQ(float_lanes(ada), 128);
  EXPECT_EQ(float_lanes(device_card("t4-16gb")), 64);
  EXPECT_EQ(float_lanes(device_card("h20-sxm-96gb")), 128);
  EXPECT_NEAR(integer_ops_per_s(a100), 108 * 64 * 1.41e9, 0.01e12);
  EXPECT_NEAR(integer_ops_per_s(ada), 128 * 64 * 2.52e9, 0.05e12);
  DeviceCard unknown = a100;
  unknown.multiprocessors.value = 0;
  EXPECT_EQ(integer_ops_per_s(unknown), 0);
}

}  // namespace
}  // namespace vramplan
