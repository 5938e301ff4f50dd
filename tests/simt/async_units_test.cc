#include "async_units.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kernels/cuda/warpgroup.h"

// Faults of sm_90a code, each planted once, and products against plain sums.
namespace {

namespace dev = vramplan::cuda::VRAMPLAN_KERNELS::dev;
using vramplan::cuda::VRAMPLAN_KERNELS::F16;

constexpr std::size_t kShared = 64 * 1024;

std::string fault_of(std::uint32_t threads, const std::function<void()>& body) {
  try {
    simt::launch("planted", 1, threads, kShared, body);
  } catch (const simt::Fault& fault) {
    return fault.what();
  }
  return "";
}
bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

std::byte* memory() { return static_cast<std::byte*>(simt::dynamic_shared()); }
/// A place for tiles: at a multiple of 1024 of the address that descriptors hold.
std::byte* tiles() { return memory() + 1024 - dev::shared_address(memory()) % 1024; }
std::uint64_t* barriers() { return reinterpret_cast<std::uint64_t*>(memory() + kShared - 64); }

bool first() { return threadIdx.x == 0; }

TEST(AsyncUnits, MisuseOfBarriersIsNamed) {
  EXPECT_TRUE(contains(fault_of(32, [] { dev::barrier_arrive(barriers()); }), "not initialised"));
  EXPECT_TRUE(contains(fault_of(1,
                                [] {
                                  dev::barrier_init(barriers(), 1);
                                  dev::barrier_init(barriers(), 1);
                                }),
                       "twice"));
  const std::string waits = fault_of(32, [] {
    if (first()) dev::barrier_init(barriers(), 33);
    __syncthreads();
    dev::barrier_arrive(barriers());
    dev::barrier_wait(barriers(), 0);
  });
  EXPECT_TRUE(contains(waits, "deadlock")) << waits;
  EXPECT_TRUE(contains(waits, "mbarrier at async_units_test.cc")) << waits;
  EXPECT_TRUE(contains(fault_of(64, [] { dev::named_arrive(1, 64 + 32 * (dev::warp() % 2)); }),
                       "disagree"));
  EXPECT_TRUE(contains(fault_of(64, [] { dev::named_sync(2, 96); }), "deadlock"));
}

TEST(AsyncUnits, APhaseEndsWithTheLastArrivalAndTheLastByte) {
  std::vector<std::uint16_t> source(8 * 64);
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::uint16_t>(i);
  const auto map = dev::tensor_map(source.data(), 64, 8, 1, 1024, 8);
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const simt::Schedule schedule(seed);
    std::vector<int> right(64, 0);
    simt::launch("phases", 1, 64, kShared, [&] {
      if (first()) dev::barrier_init(barriers(), 1);
      __syncthreads();
      if (first()) {
        dev::barrier_expect(barriers(), 1024);
        dev::copy_box(tiles(), map, 0, 0, 0, barriers());
      }
      dev::barrier_wait(barriers(), 0);
      int good = 1;
      for (int r = 0; r < 8; ++r) {
        std::uint16_t element = 0;
        const auto column = static_cast<int>(threadIdx.x);
        std::memcpy(&element, tiles() + vramplan::cuda::tile_byte(8, r, column), 2);
        if (element != 64 * r + column) good = 0;
      }
      right[threadIdx.x] = good;
    });
    EXPECT_EQ(std::count(right.begin(), right.end(), 1), 64) << seed;
  }
  // Bytes that never come, and a box that nobody waits for.
  EXPECT_TRUE(contains(fault_of(1,
                                [&] {
                                  dev::barrier_init(barriers(), 1);
                                  dev::barrier_expect(barriers(), 2048);
                                  dev::copy_box(tiles(), map, 0, 0, 0, barriers());
                                  dev::barrier_wait(barriers(), 0);
                                }),
                       "deadlock"));
  EXPECT_TRUE(contains(fault_of(1,
                                [&] {
                                  dev::barrier_init(barriers(), 1);
                                  dev::copy_box(tiles(), map, 0, 0, 0, barriers());
                                }),
                       "no thread waited for"));
  EXPECT_TRUE(contains(fault_of(1,
                                [&] {
                                  dev::barrier_init(barriers(), 1);
                                  dev::copy_box(tiles() + 16, map, 0, 0, 0, barriers());
                                }),
                       "alignment"));
}

/// score = A * B^T of two K-major tiles [64, 64] and [128, 64]; before its wait the sums are NaN.
TEST(AsyncUnits, ProductsAreSumsOfTheirOperandsAndNotThereBeforeTheirWait) {
  std::vector<float> a(64 * 64), b(128 * 64), c(64 * 128, 0.0F);
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] = static_cast<float>(static_cast<int>(i * 7 % 13) - 6);
  for (std::size_t i = 0; i < b.size(); ++i)
    b[i] = static_cast<float>(static_cast<int>(i * 5 % 11) - 5);
  bool early_nan = true;
  simt::launch("products", 1, 128, kShared, [&] {
    std::byte* const at = tiles();
    std::byte* const bt = at + 64 * 128;
    const auto put = [](std::byte* tile, int rows, const std::vector<float>& from) {
      for (int i = static_cast<int>(threadIdx.x); i < rows * 64; i += 128) {
        const auto bits = dev::from_f32<F16>(from[static_cast<std::size_t>(i)]).bits;
        std::memcpy(tile + vramplan::cuda::tile_byte(rows, i / 64, i % 64), &bits, 2);
      }
    };
    put(at, 64, a);
    put(bt, 128, b);
    __syncthreads();
    float sum[16][4] = {};
    const std::uint32_t aa = dev::shared_address(at), bb = dev::shared_address(bt);
    for (int k = 0; k < 64; k += 16) {
      dev::multiply_shared<F16>(sum, vramplan::cuda::k_major(aa, 64, 0, k),
                                vramplan::cuda::k_major(bb, 128, 0, k), k > 0);
    }
    dev::products_commit();
    if (!std::isnan(sum[3][1])) early_nan = false;
    dev::products_wait<0>(sum);
    for (int n = 0; n < 16; ++n) {
      for (int e = 0; e < 4; ++e) {
        const int row = 16 * dev::warp() + dev::lane() / 4 + 8 * (e / 2);
        const int column = 8 * n + 2 * (dev::lane() % 4) + e % 2;
        c[static_cast<std::size_t>(row * 128 + column)] = sum[n][e];
      }
    }
  });
  EXPECT_TRUE(early_nan);
  for (std::size_t r = 0; r < 64; ++r) {
    for (std::size_t n = 0; n < 128; ++n) {
      float expected = 0;
      for (std::size_t k = 0; k < 64; ++k) expected += a[r * 64 + k] * b[n * 64 + k];
      ASSERT_EQ(c[r * 128 + n], expected) << r << " " << n;
    }
  }
}

TEST(AsyncUnits, DescriptorsThatPointNowhereAreFaults) {
  float sum[16][4] = {};
  EXPECT_TRUE(contains(fault_of(32, [&] { dev::multiply_shared<F16>(sum, 0, 0, false); }),
                       "128-byte swizzle"));
  EXPECT_TRUE(contains(fault_of(32,
                                [] {
                                  float own[16][4] = {};
                                  const auto far = vramplan::cuda::k_major(kShared, 128, 0, 0);
                                  dev::multiply_shared<F16>(own, far, far, false);
                                  dev::products_commit();
                                  dev::products_wait<0>(own);
                                }),
                       "outside dynamic shared memory"));
}

}  // namespace
