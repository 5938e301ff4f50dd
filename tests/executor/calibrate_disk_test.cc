#include "executor/calibrate_disk.h"

#include <gtest/gtest.h>

#include "executor/backend.h"
#include "executor/calibrate_memory.h"

namespace vramplan {
namespace {

TEST(CalibrateDisk, SeesRatesAndAShareOfOneThroughTheFilesOfARun) {
  const auto backend = make_cpu_backend(1, 64_MiB);
  const TierBuffer memory(8_MiB);
  const SteadyClock clock;
  const DiskTiming timing{
      testing::TempDir(), 8_MiB, 1, {memory.data(), static_cast<std::size_t>(memory.size())}};
  const Link link = measure_disk(backend->ops(), clock, timing, "this test");
  EXPECT_EQ(link.kind, LinkKind::kNvme);
  for (const double rate : {link.bytes_per_s.value, link.write_bytes_per_s.value}) {
    EXPECT_GT(rate, 1e5);
    EXPECT_LT(rate, 1e12);
  }
  EXPECT_GE(link.latency_s.value, 0);
  EXPECT_GE(link.write_latency_s.value, 0);
  EXPECT_GE(link.overlap.value, 0);
  EXPECT_LE(link.overlap.value, 1);
  EXPECT_EQ(link.overlap.evidence, Evidence::kMeasured);
  EXPECT_NE(link.overlap.source.find("this test"), std::string::npos);
}

TEST(CalibrateDisk, ADirectoryThatIsNotThereIsRefused) {
  const auto backend = make_cpu_backend(1, 64_MiB);
  const SteadyClock clock;
  EXPECT_THROW(measure_disk(backend->ops(), clock, {"/nowhere", 8_MiB, 1, {}}, "none"), Error);
}

}  // namespace
}  // namespace vramplan
