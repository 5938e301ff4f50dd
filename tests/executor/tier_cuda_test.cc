#include "executor/tier_cuda.h"

#include <gtest/gtest.h>

#include "tests/fake_cuda/fake_runtime.h"

namespace vramplan {
namespace {

using namespace literals;

TEST(TierCuda, RegionsAreCutFromOneReservation) {
  cuda::FakeRuntime runtime;
  {
    CudaDeviceTier tier(runtime, 100_MiB);
    tier.reserve_all(10_MiB);
    const Bytes used = runtime.used();
    Region a = tier.reserve(1000_B, "a"), b = tier.reserve(5_MiB, "b");
    EXPECT_EQ(runtime.used(), used) << "a region costs the driver nothing";
    EXPECT_EQ(b.data - a.data, 1024);
    EXPECT_EQ(tier.free_now(), 10_MiB - 1024_B - 5_MiB);
    EXPECT_TRUE(runtime.is_device(b.data, b.size.n));
    tier.release(a);
    tier.release(b);
    EXPECT_EQ(tier.free_now(), 10_MiB) << "regions of a rank come and go together";
  }
  EXPECT_EQ(runtime.live_allocations(), 0);
}

TEST(TierCuda, WhatIsMissingIsSaidInBytes) {
  cuda::FakeRuntime runtime;
  CudaDeviceTier tier(runtime, 4_MiB);
  try {
    tier.reserve_all(5_MiB);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan);
    EXPECT_NE(error.message().find("1048576 B are missing"), std::string::npos);
  }
  tier.reserve_all(4_MiB);
  Region a = tier.reserve(3_MiB, "a");
  EXPECT_THROW(tier.reserve(2_MiB, "b"), Error);
  tier.release(a);
}

TEST(TierCuda, PinnedMemoryIsCounted) {
  cuda::FakeRuntime runtime;
  CudaHostTier tier(runtime);
  Region a = tier.reserve(1_MiB, "staging");
  EXPECT_EQ(tier.reserved(), 1_MiB);
  EXPECT_FALSE(runtime.is_device(a.data, 1));
  tier.release(a);
  EXPECT_EQ(tier.reserved(), 0_B);
  EXPECT_EQ(runtime.live_allocations(), 0);
}

}  // namespace
}  // namespace vramplan
