#include "executor/shared_tier.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace vramplan {
namespace {

TEST(SharedTier, SealedBytesAreReadAndNeverWrittenAgain) {
  SharedTier tier(1_MiB);
  Region region = tier.reserve(64_KiB, "weights");
  std::memset(region.data, 42, 64 * 1024);
  const std::byte* const before = region.data;
  tier.seal();
  EXPECT_EQ(region.data, before);
  EXPECT_EQ(region.data[65535], std::byte{42});
  errno = 0;
  EXPECT_EQ(mprotect(region.data, 4096, PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
  EXPECT_DEATH(*const_cast<volatile std::byte*>(region.data) = std::byte{1}, "");
  tier.release(region);
  EXPECT_EQ(tier.free_now() <= 1_MiB, true);
}

TEST(SharedTier, WhatDoesNotFitIsNamed) {
  SharedTier tier(64_KiB);
  try {
    tier.reserve(65_KiB, "the region of shared weights");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan);
    EXPECT_NE(error.message().find("the region of shared weights"), std::string::npos);
  }
  Region none = tier.reserve(0_B, "nothing");
  tier.seal();
  tier.release(none);
}

}  // namespace
}  // namespace vramplan
