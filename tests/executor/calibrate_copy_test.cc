#include "executor/calibrate_copy.h"

#include <gtest/gtest.h>

#include <vector>

#include "executor/backend.h"
#include "executor/calibrate_memory.h"

namespace vramplan {
namespace {

std::span<std::byte> span_of(const TierBuffer& memory) {
  return {memory.data(), static_cast<std::size_t>(memory.size())};
}

TEST(CalibrateCopy, SeesARateAndAShareOfOne) {
  const auto backend = make_cpu_backend(1, 64_MiB);
  const TierBuffer memory(16_MiB);
  const SteadyClock clock;
  const CopySpeed speed = measure_copy(backend->ops(), clock, span_of(memory), 1);
  EXPECT_GT(speed.bytes_per_s, 1e7);
  EXPECT_LT(speed.bytes_per_s, 1e12);
  EXPECT_GE(speed.overlap, 0);
  EXPECT_LE(speed.overlap, 1);
}

TEST(CalibrateCopy, AClockThatStandsStillOrTooLittleMemoryMeasuresNothing) {
  const auto backend = make_cpu_backend(1, 64_MiB);
  const VirtualClock still;
  const TierBuffer memory(16_MiB), small(1_MiB);
  EXPECT_EQ(measure_copy(backend->ops(), still, span_of(memory), 1).bytes_per_s, 0);
  EXPECT_EQ(measure_copy(backend->ops(), SteadyClock(), span_of(small), 1).bytes_per_s, 0);
}

}  // namespace
}  // namespace vramplan
