#include "simt.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "device_memory.h"
#include "kernels/cuda/dev.h"

#if defined(__SANITIZE_ADDRESS__)
// A reported thread never returns, so the words of its report stay on its abandoned stack.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

// The runtime catches what it is there to catch: each fault is planted here, and must be reported.
namespace {

constexpr unsigned kAll = 0xffffffffU;

std::string fault_of(simt::Dim3 grid, simt::Dim3 block, std::size_t dynamic,
                     const std::function<void()>& body) {
  try {
    simt::launch("planted", grid, block, dynamic, body);
  } catch (const simt::Fault& fault) {
    return fault.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Reverses 64 values through shared memory. The barrier can be left out.
void reverse(float* out, const float* in, bool with_barrier) {
  VRAMPLAN_SHARED(float, tile, 64);
  tile[threadIdx.x] = in[threadIdx.x];
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = tile[63 - threadIdx.x];
}

struct Reversed {
  std::vector<float> in = std::vector<float>(64), out = std::vector<float>(64);
  void run(std::uint64_t seed, bool with_barrier) {
    for (std::size_t i = 0; i < 64; ++i) in[i] = static_cast<float>(i);
    const simt::Schedule schedule(seed);
    simt::launch("reverse", 1, 64, 0, [&] { reverse(out.data(), in.data(), with_barrier); });
  }
  bool right() const {
    for (std::size_t i = 0; i < 64; ++i) {
      if (!(out[i] == static_cast<float>(63 - i))) return false;
    }
    return true;
  }
};

TEST(Simt, RunsEveryThreadOfEveryBlockOnce) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const simt::Schedule schedule(seed);
    std::set<std::vector<std::uint32_t>> seen;
    simt::launch("all", simt::Dim3(3, 2, 2), simt::Dim3(5, 4, 3), 0, [&] {
      EXPECT_EQ(blockDim.y, 4U);
      EXPECT_EQ(gridDim.x, 3U);
      seen.insert({blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z});
    });
    EXPECT_EQ(seen.size(), 3U * 2 * 2 * 5 * 4 * 3);
  }
}

TEST(Simt, SchedulesDifferAndRepeat) {
  const auto order = [](std::uint64_t seed) {
    const simt::Schedule schedule(seed);
    std::vector<std::uint32_t> threads;
    simt::launch("order", 4, 32, 0, [&] { threads.push_back(blockIdx.x * 32 + threadIdx.x); });
    return threads;
  };
  EXPECT_EQ(order(0).front(), 0U);
  EXPECT_EQ(order(7), order(7));
  EXPECT_NE(order(7), order(8));
}

TEST(Simt, ARemovedBarrierGivesWrongValues) {
  Reversed reversed;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    reversed.run(seed, true);
    EXPECT_TRUE(reversed.right()) << "seed " << seed;
    reversed.run(seed, false);
    EXPECT_FALSE(reversed.right()) << "seed " << seed << ": the missing barrier went unseen";
  }
}

void write_past_shared() {
  VRAMPLAN_SHARED(float, tile, 64);
  tile[threadIdx.x] = 1.0F;
}
void write_before_shared() {
  VRAMPLAN_DYNAMIC_SHARED(float, tile);
  tile[-1] = 1.0F;
}

TEST(Simt, ASharedWriteOutsideAnArrayIsReported) {
#if defined(__SANITIZE_ADDRESS__)  // stops at the write itself
  EXPECT_DEATH(fault_of(1, 65, 0, write_past_shared), "use-after-poison");
  EXPECT_DEATH(fault_of(1, 1, 64, write_before_shared), "use-after-poison");
#else
  const std::string past = fault_of(1, 65, 0, write_past_shared);
  EXPECT_TRUE(contains(past, "past the end of simt_test.cc")) << past;
  const std::string before = fault_of(1, 1, 64, write_before_shared);
  EXPECT_TRUE(contains(before, "before dynamic shared")) << before;
#endif
}

TEST(Simt, SharedMemoryStartsAsNaN) {
  bool all_nan = true;
  simt::launch("poison", 2, 32, 0, [&] {
    VRAMPLAN_SHARED(float, tile, 32);
    if (tile[threadIdx.x] == tile[threadIdx.x]) all_nan = false;
    tile[threadIdx.x] = 1.0F;
  });
  EXPECT_TRUE(all_nan);
}

TEST(Simt, ADivergentBarrierIsReportedWithBothPlaces) {
  const std::string fault = fault_of(1, 64, 0, [] {
    if (threadIdx.x < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  });
  EXPECT_TRUE(contains(fault, "divergent __syncthreads")) << fault;
  EXPECT_TRUE(contains(fault, "simt_test.cc:")) << fault;
}

TEST(Simt, AThreadThatLeavesBeforeABarrierIsADeadlock) {
  const std::string fault = fault_of(1, 64, 0, [] {
    if (threadIdx.x == 5) return;
    __syncthreads();
  });
  EXPECT_TRUE(contains(fault, "deadlock")) << fault;
  EXPECT_TRUE(contains(fault, "thread (5,0,0) (warp 0 lane 5) has returned")) << fault;
}

TEST(Simt, ALaneMissingFromAShuffleIsReported) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const simt::Schedule schedule(seed);
    const std::string returned = fault_of(1, 32, 0, [] {
      if (threadIdx.x == 3) return;
      __shfl_xor_sync(kAll, 1.0F, 1);
    });
    EXPECT_TRUE(contains(returned, "has returned")) << returned;
  }
  const std::string elsewhere = fault_of(1, 64, 0, [] {
    if (threadIdx.x == 3) {
      __syncthreads();
    } else {
      __shfl_xor_sync(kAll, 1.0F, 1);
    }
  });
  EXPECT_TRUE(contains(elsewhere, "deadlock")) << elsewhere;
  const std::string outside = fault_of(1, 32, 0, [] { __shfl_sync(0xffffU, 1.0F, 0); });
  EXPECT_TRUE(contains(outside, "not in its mask")) << outside;
  const std::string masks =
      fault_of(1, 32, 0, [] { __any_sync(threadIdx.x < 16 ? kAll : 0xffff0000U, 1); });
  EXPECT_TRUE(contains(masks, "another mask")) << masks;
  const std::string source = fault_of(1, 32, 0, [] {
    if (threadIdx.x < 16) __shfl_sync(0xffffU, 1.0F, 20);
  });
  EXPECT_TRUE(contains(source, "reads lane 20")) << source;
  const std::string absent = fault_of(1, 16, 0, [] { __syncwarp(); });
  EXPECT_TRUE(contains(absent, "does not exist")) << absent;
}

TEST(Simt, ShufflesAndVotesAreThoseOfCuda) {
  simt::launch("warp", 1, 32, 0, [] {
    const int lane = static_cast<int>(threadIdx.x);
    EXPECT_EQ(__shfl_sync(kAll, lane, 7), 7);
    EXPECT_EQ(__shfl_sync(kAll, lane, 3, 8), lane / 8 * 8 + 3);
    EXPECT_EQ(__shfl_up_sync(kAll, lane, 2), lane < 2 ? lane : lane - 2);
    EXPECT_EQ(__shfl_down_sync(kAll, lane, 2), lane >= 30 ? lane : lane + 2);
    EXPECT_EQ(__shfl_xor_sync(kAll, lane, 5), lane ^ 5);
    EXPECT_EQ(__ballot_sync(kAll, lane % 3 == 0 ? 1 : 0), 0x49249249U);
    EXPECT_EQ(__any_sync(kAll, lane == 9 ? 1 : 0), 1);
    EXPECT_EQ(__all_sync(kAll, lane != 9 ? 1 : 0), 0);
    EXPECT_EQ(__reduce_add_sync(kAll, static_cast<unsigned>(lane)), 496U);
    EXPECT_EQ(__reduce_max_sync(kAll, static_cast<unsigned>(lane ^ 5)), 31U);
    EXPECT_EQ(__reduce_min_sync(kAll, static_cast<unsigned>(lane + 4)), 4U);
  });
  simt::launch("halves", 1, 32, 0, [] {
    const unsigned mask = threadIdx.x < 16 ? 0xffffU : 0xffff0000U;
    EXPECT_EQ(__popc(__ballot_sync(mask, 1)), 16);
  });
  EXPECT_EQ(__byte_perm(0x33221100U, 0x77665544U, 0x7650U), 0x77665500U);
}

TEST(Simt, AtomicsAddUpInEverySchedule) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const simt::Schedule schedule(seed);
    int sum = 0, most = 0;
    std::set<int> tickets;
    simt::launch("atomics", 3, 64, 0, [&] {
      tickets.insert(atomicAdd(&sum, 1));
      atomicMax(&most, static_cast<int>(threadIdx.x));
    });
    EXPECT_EQ(sum, 192);
    EXPECT_EQ(most, 63);
    EXPECT_EQ(tickets.size(), 192U);
  }
}

TEST(Simt, LaunchLimitsAreThoseOfTheDevice) {
  const auto nothing = [] {};
  EXPECT_TRUE(contains(fault_of(1, 1025, 0, nothing), "1025 threads"));
  EXPECT_TRUE(contains(fault_of(1, simt::Dim3(1, 1, 65), 0, nothing), "block z"));
  EXPECT_TRUE(contains(fault_of(simt::Dim3(1, 65536), 1, 0, nothing), "grid"));
  EXPECT_TRUE(contains(fault_of(simt::Dim3(0), 1, 0, nothing), "grid"));
  EXPECT_TRUE(contains(fault_of(1, 1, 228 * 1024, nothing), "shared memory"));
  EXPECT_TRUE(contains(fault_of(1, 1, 0,
                                [] {
                                  VRAMPLAN_SHARED(float, tile, 13000);
                                  tile[0] = 0;
                                }),
                       "48 KiB"));
}

TEST(Simt, AWriteBesideDeviceMemoryIsReported) {
  simt::DeviceMemory memory(10 * sizeof(float));
  auto* data = static_cast<float*>(memory.data());
  EXPECT_EQ(fault_of(1, 10, 0, [=] { data[threadIdx.x] = 1.0F; }), "");
  const std::string past = fault_of(1, 11, 0, [=] { data[threadIdx.x] = 1.0F; });
  EXPECT_TRUE(contains(past, "past the end of an array of 40 bytes")) << past;
  data[10] = simt::DeviceMemory(4).bytes() == 4 ? std::bit_cast<float>(0xffffffffU) : 0.0F;
  const std::string before = fault_of(1, 1, 0, [=] { data[-1] = 1.0F; });
  EXPECT_TRUE(contains(before, "before an array")) << before;
}

TEST(Simt, ACopyIsNotThereBeforeItsWait) {
  alignas(16) static float source[4] = {1, 2, 3, 4};
  for (const bool wait : {true, false}) {
    float seen = 0;
    simt::launch("copy", 1, 1, 0, [&] {
      VRAMPLAN_SHARED(float, tile, 4);
      vramplan::cuda::dev::copy16_async(tile, source, true);
      vramplan::cuda::dev::copy_commit();
      if (wait) vramplan::cuda::dev::copy_wait<0>();
      seen = tile[2];
    });
    EXPECT_EQ(seen == 3.0F, wait);
  }
  const std::string fault = fault_of(1, 1, 64, [] {
    VRAMPLAN_DYNAMIC_SHARED(float, tile);
    vramplan::cuda::dev::copy16_async(tile + 1, source, true);
  });
  EXPECT_TRUE(contains(fault, "alignment")) << fault;
}

TEST(Simt, AnExceptionInAKernelLeavesTheLaunch) {
  EXPECT_THROW(simt::launch("throws", 1, 32, 0, [] { throw std::runtime_error("inside"); }),
               std::runtime_error);
  Reversed reversed;  // and the next launch works
  reversed.run(3, true);
  EXPECT_TRUE(reversed.right());
}

TEST(Simt, ALaunchCanBeQueued) {
  static std::vector<std::function<void()>> queue;
  queue.clear();
  simt::set_enqueue([](void*, std::function<void()> work) { queue.push_back(std::move(work)); });
  static int ran = 0;
  ran = 0;
  void (*kernel)(int) = [](int add) { ran += add; };
  vramplan::cuda::dev::launch("queued", kernel, 2, 3, 0, {}, 5);
  simt::set_enqueue(nullptr);
  EXPECT_EQ(ran, 0);
  ASSERT_EQ(queue.size(), 1U);
  queue[0]();
  EXPECT_EQ(ran, 30);
}

}  // namespace
