#include "planner/served_release.h"

#include <gtest/gtest.h>

namespace vramplan {
namespace {

TEST(ServedRelease, AReleaseOnADeviceInAFormatHasItsFactors) {
  const ReleaseFactors known =
      release_factors(EngineKind::kVllm, "0.19.0", "b200-sxm-180gb", Quantization::kNvfp4);
  EXPECT_TRUE(known.measured);
  EXPECT_NE(known.prompt, 1.0);
  EXPECT_NE(known.host, 1.0);
  const ReleaseFactors other =
      release_factors(EngineKind::kVllm, "unstated", "b200-sxm-180gb", Quantization::kNvfp4);
  EXPECT_NE(known.host, other.host);
}

TEST(ServedRelease, APostReleaseIsTheSameCodePackedAgain) {
  const auto of = [](const char* release) {
    return release_factors(EngineKind::kTrtllm, release, "b200-sxm-180gb", Quantization::kNvfp4);
  };
  const ReleaseFactors published = of("1.2.0rc6.post2"), again = of("1.2.0rc6.post3");
  EXPECT_NE(published.prompt, 1.0);
  EXPECT_EQ(again.prompt, published.prompt);
  EXPECT_EQ(again.host, published.host);
  EXPECT_FALSE(again.measured);
  EXPECT_EQ(of("1.2.0rc7").prompt, 1.0);
}

TEST(ServedRelease, WhatNoRunIsPublishedOfIsNotCorrected) {
  const ReleaseFactors format =
      release_factors(EngineKind::kVllm, "0.19.0", "b200-sxm-180gb", Quantization::kInt8);
  EXPECT_FALSE(format.measured);
  EXPECT_EQ(format.prompt, 1.0);
  EXPECT_NE(format.host, 1.0) << "the host is that of the release, whatever the device";
  const ReleaseFactors newer =
      release_factors(EngineKind::kVllm, "99.0.0", "h100-sxm-80gb", Quantization::kFp8);
  EXPECT_FALSE(newer.measured);
  EXPECT_EQ(newer.prompt, 1.0);
  EXPECT_EQ(newer.host, 1.0);
}

}  // namespace
}  // namespace vramplan
