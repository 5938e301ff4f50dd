#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "modelcards/error.h"

namespace vramplan::cpu {
namespace {

TEST(ThreadPool, EveryItemIsVisitedOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const std::int64_t count : {0, 1, 2, 63, 64, 1000}) {
      for (const std::int64_t chunk : {1, 7, 2000}) {
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
        pool.parallel_for(count, chunk, [&](std::int64_t begin, std::int64_t end, int thread) {
          EXPECT_GE(thread, 0);
          EXPECT_LT(thread, threads);
          for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        });
        for (const auto& n : visits) ASSERT_EQ(n.load(), 1);
      }
    }
  }
}

TEST(ThreadPool, ResultsOfARegionAreVisibleAfterIt) {
  ThreadPool pool(3);
  std::vector<std::int64_t> values(257, 0);  // not atomic: the region's end orders the writes
  for (std::int64_t round = 1; round <= 20000; ++round) {
    pool.parallel_for(257, 16, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) values[static_cast<std::size_t>(i)] += i;
    });
    ASSERT_EQ(values[256], 256 * round);
    ASSERT_EQ(values[17], 17 * round);
  }
}

TEST(ThreadPool, WakesWorkersThatWentToSleep) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    // The second chunk waits for the first: both threads must take part.
    std::atomic<int> inside{0};
    pool.parallel_for(2, 1, [&](std::int64_t, std::int64_t, int) {
      ++inside;
      while (inside.load() < 2) std::this_thread::yield();
    });
    EXPECT_EQ(inside.load(), 2);
  }
}

TEST(ThreadPool, OneThreadRunsEverythingInTheCaller) {
  ThreadPool pool(1);
  const auto caller = std::this_thread::get_id();
  int calls = 0;
  pool.parallel_for(100, 1, [&](std::int64_t begin, std::int64_t end, int) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 100);
    ++calls;
  });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadPool, RefusesAThreadCountThatMakesNoSense) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_THROW(ThreadPool(-3), Error);
  EXPECT_THROW(ThreadPool(5000), Error);
}

}  // namespace
}  // namespace vramplan::cpu
