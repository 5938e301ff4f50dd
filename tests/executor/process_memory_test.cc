#include "executor/process_memory.h"

#include <gtest/gtest.h>

#include "executor/tier.h"

namespace vramplan {
namespace {

TEST(ProcessMemory, ReadsTheFieldsOfARollup) {
  const std::string text =
      "55cc6f3a9000-7ffd0b5d4000 ---p 00000000 00:00 0                          [rollup]\n"
      "Rss:              123456 kB\n"
      "Pss:               65432 kB\n"
      "Pss_Dirty:           112 kB\n";
  const ProcessSample sample = parse_smaps_rollup(text);
  EXPECT_EQ(sample.resident, 1024_B * 123456);
  EXPECT_EQ(sample.proportional, 1024_B * 65432);
}

TEST(ProcessMemory, WhatIsMissingOrBrokenIsNotMeasured) {
  EXPECT_EQ(parse_smaps_rollup("").resident, 0_B);
  EXPECT_EQ(parse_smaps_rollup("Rss: lots kB\n").resident, 0_B);
  EXPECT_EQ(parse_smaps_rollup("Rss: 12 MB\n").resident, 0_B);
  EXPECT_EQ(parse_smaps_rollup("Rss: -12 kB\n").resident, 0_B);
  EXPECT_EQ(parse_smaps_rollup("Rss: 99999999999999999999 kB\n").resident, 0_B);
  EXPECT_EQ(parse_smaps_rollup("Rss:").resident, 0_B);
  EXPECT_EQ(parse_smaps_rollup("Pss_Anon: 4 kB").proportional, 0_B);
  EXPECT_EQ(parse_kib_field("VmHWM:\t    2048 kB\n", "VmHWM"), 2_MiB);
}

TEST(ProcessMemory, SeesMemoryThatIsTouchedAndForgetsAPeak) {
  ProcessMemory& memory = this_process_memory();
  const Bytes before = memory.now().resident;
  if (before.n == 0) GTEST_SKIP() << "this system does not say what a process holds";
  auto tier = make_host_tier(TierKind::kDevice, 64_MiB);  // pages go back when a region does
  const bool resets = memory.reset_peak();
  Region region = tier->reserve(64_MiB, "a test");
  EXPECT_LT(memory.now().resident, before + 60_MiB);  // reserved is not resident
  for (std::int64_t i = 0; i < region.size.n; i += 4096) region.data[i] = std::byte{1};
  EXPECT_GT(memory.now().resident, before + 60_MiB);
  tier->release(region);
  EXPECT_LT(memory.now().resident, before + 60_MiB);
  if (!resets) GTEST_SKIP() << "this system does not reset the peak";
  EXPECT_GT(memory.now().peak, before + 60_MiB);
  ASSERT_TRUE(memory.reset_peak());
  EXPECT_LT(memory.now().peak, before + 60_MiB);
}

}  // namespace
}  // namespace vramplan
