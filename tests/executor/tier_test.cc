#include "executor/tier.h"

#include <gtest/gtest.h>

#include "executor/process_memory.h"

namespace vramplan {
namespace {

TEST(Tier, HandsOutUpToItsCapacityAndNotAByteMore) {
  for (const bool dry : {true, false}) {
    auto tier =
        dry ? make_dry_tier(TierKind::kDevice, 10_MiB) : make_host_tier(TierKind::kDevice, 10_MiB);
    Region a = tier->reserve(6_MiB, "weights");
    EXPECT_LE(tier->free_now(), 4_MiB);
    try {
      tier->reserve(4_MiB + 1_B, "the KV block pool");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfPlan);
      EXPECT_NE(error.message().find("the KV block pool"), std::string::npos);
      EXPECT_NE(error.message().find("1 B are missing"), std::string::npos) << error.message();
    }
    Region b = tier->reserve(4_MiB, "blocks");
    EXPECT_GE(b.data - a.data >= 0 ? b.data - a.data : a.data - b.data, 4 << 20);
    tier->release(a);
    tier->release(a);  // a second time is nothing
    tier->release(b);
    Region all = tier->reserve(10_MiB, "all");
    tier->release(all);
    Region none = tier->reserve(0_B, "nothing");
    tier->release(none);
  }
}

TEST(Tier, ADryDeviceHasAnyCapacity) {
  auto tier = make_dry_tier(TierKind::kDevice, 1024_GiB * 1024);
  Region region = tier->reserve(1000_GiB * 1000, "weights of a very large model");
  EXPECT_NE(region.data, nullptr);
  tier->release(region);
}

TEST(TierDeathTest, DryMemoryCannotBeRead) {
  auto tier = make_dry_tier(TierKind::kDevice, 1_MiB);
  Region region = tier->reserve(1_MiB, "nothing real");
  EXPECT_DEATH(std::printf("%d", static_cast<int>(*static_cast<volatile std::byte*>(region.data))),
               "");
  tier->release(region);
}

TEST(Tier, HostMemoryStartsAsZeros) {
  auto tier = make_host_tier(TierKind::kDevice, 1_MiB);
  Region region = tier->reserve(1_MiB, "weights");
  for (std::int64_t i = 0; i < region.size.n; i += 4096) EXPECT_EQ(region.data[i], std::byte{0});
  tier->release(region);
}

TEST(HostTier, CommittedPagesAreThereAndKeepTheirContents) {
  const auto tier = make_host_tier(TierKind::kDevice, 64_MiB);
  Region region = tier->reserve(32_MiB, "a pool");
  region.data[5000] = std::byte{7};
  const Bytes before = this_process_memory().now().resident;
  tier->commit(region.data + 4999, 16_MiB);
  const Bytes brought = this_process_memory().now().resident - before;
  EXPECT_EQ(region.data[5000], std::byte{7});
  if (before.n > 0) {
    EXPECT_GE(brought, 15_MiB);
    EXPECT_LE(brought, 20_MiB);
  }
  tier->release(region);
}

}  // namespace
}  // namespace vramplan
