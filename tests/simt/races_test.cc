// Under ThreadSanitizer (`make races`) each fiber is a thread of its own, and only barriers and
// __syncwarp order memory: missing ones are reported even where every schedule gives right values.
#include <gtest/gtest.h>

#include "kernels/cuda/dev.h"
#include "simt.h"

#ifndef VRAMPLAN_SIMT_TSAN
#define VRAMPLAN_SIMT_TSAN 0
#endif

namespace {
int reports = 0;
}
#if VRAMPLAN_SIMT_TSAN
extern "C" void __tsan_on_report(void*) { ++reports; }
// The tests count the reports themselves.
extern "C" const char* __tsan_default_options() { return "exitcode=0"; }
#endif

namespace {

constexpr unsigned kAll = 0xffffffffU;

class Races : public testing::Test {
 protected:
  void SetUp() override {
    if (VRAMPLAN_SIMT_TSAN == 0) GTEST_SKIP() << "needs ThreadSanitizer: make races";
  }
  /// Reports of one launch of a block of 64 threads, in four schedules.
  static int races_of(const std::function<void()>& body) {
    const int before = reports;
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      const simt::Schedule schedule(seed);
      simt::launch("planted", 1, 64, 0, body);
    }
    return reports - before;
  }
};

TEST_F(Races, AMissingBarrierIsReported) {
  const auto reverse = [](bool with_barrier) {
    VRAMPLAN_SHARED(int, tile, 64);
    tile[threadIdx.x] = 1;
    if (with_barrier) __syncthreads();
    volatile int read = tile[63 - threadIdx.x];
    static_cast<void>(read);
  };
  EXPECT_EQ(races_of([&] { reverse(true); }), 0);
  EXPECT_GT(races_of([&] { reverse(false); }), 0);
}

/// A shuffle meets in lock step here, as on a device, but orders no memory.
TEST_F(Races, AMissingSyncwarpIsReportedThoughAShuffleMeets) {
  const auto exchange = [](bool with_sync) {
    VRAMPLAN_SHARED(int, tile, 64);
    tile[threadIdx.x] = 1;
    __shfl_xor_sync(kAll, 7, 1);
    __any_sync(kAll, 1);
    if (with_sync) __syncwarp();
    volatile int read = tile[threadIdx.x ^ 1U];
    static_cast<void>(read);
  };
  EXPECT_EQ(races_of([&] { exchange(true); }), 0);
  EXPECT_GT(races_of([&] { exchange(false); }), 0);
}

TEST_F(Races, HalvesThatMeetUnequallyOftenAreOrderedByTheirNextMeeting) {
  EXPECT_EQ(races_of([] {
              VRAMPLAN_SHARED(int, tile, 64);
              if (threadIdx.x % 32 < 16) __syncwarp(0xffffU);
              __syncthreads();
              tile[threadIdx.x] = 1;
              __syncwarp();
              volatile int read = tile[threadIdx.x ^ 31U];
              static_cast<void>(read);
              __syncwarp();
              tile[threadIdx.x ^ 31U] = 2;
            }),
            0);
}

TEST_F(Races, AtomicsAreNoRaceAndOrderNothing) {
  const auto count = [](bool with_barrier) {
    VRAMPLAN_SHARED(int, sum, 1);
    VRAMPLAN_SHARED(int, other, 1);
    if (threadIdx.x == 0) *sum = 0;
    __syncthreads();
    if (threadIdx.x == 0) *other = 1;
    atomicAdd(sum, 1);
    if (with_barrier) __syncthreads();
    volatile int read = *other;
    static_cast<void>(read);
  };
  EXPECT_EQ(races_of([&] { count(true); }), 0);
  EXPECT_GT(races_of([&] { count(false); }), 0);
}

TEST_F(Races, ACopyBelongsToItsLaneUntilTheWarpMeets) {
  alignas(16) static float source[64 * 4] = {};
  const auto copy = [](bool with_sync) {
    VRAMPLAN_SHARED(float, tile, 64 * 4);
    namespace dev = vramplan::cuda::VRAMPLAN_KERNELS::dev;
    dev::copy16_async(tile + 4 * threadIdx.x, source + 4 * threadIdx.x, true);
    dev::copy_commit();
    dev::copy_wait<0>();
    if (with_sync) __syncwarp();
    volatile float read = tile[4 * (threadIdx.x ^ 1U)];
    static_cast<void>(read);
  };
  EXPECT_EQ(races_of([&] { copy(true); }), 0);
  EXPECT_GT(races_of([&] { copy(false); }), 0);
}

}  // namespace
