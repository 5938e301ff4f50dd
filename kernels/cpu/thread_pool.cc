#include "kernels/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>

#include "modelcards/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vramplan::cpu {
namespace {

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Long enough to bridge the serial work between two regions of a decode step, short enough to
// leave a shared machine to others between steps.
constexpr std::chrono::microseconds kSpin{40};

/// Waits until done() or until the spin time is over; true when done.
template <class Done>
bool spin_until(const Done& done) {
  const auto begin = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() - begin < kSpin);
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads < 1 || threads > 1024) {
    throw Error(ErrorCode::kUsage, "a thread pool of " + std::to_string(threads) + " threads")
        .help("choose 1 to 1024 threads");
  }
  workers_.reserve(static_cast<std::size_t>(threads) - 1);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  state_.fetch_add(kRegion);
  state_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::draw_chunks(int thread) {
  for (;;) {
    const std::int64_t begin = next_.fetch_add(chunk_, std::memory_order_relaxed);
    if (begin >= count_) return;
    call_(body_, begin, std::min(begin + chunk_, count_), thread);
  }
}

void ThreadPool::run(std::int64_t count, std::int64_t chunk, const void* body, Call call) {
  count_ = count;
  chunk_ = std::max<std::int64_t>(chunk, 1);
  body_ = body;
  call_ = call;
  next_.store(0, std::memory_order_relaxed);
  const std::uint32_t region = (state_.load(std::memory_order_relaxed) & ~(kRegion - 1)) + kRegion;
  state_.store(region | kOpen);
  if (sleepers_.load() != 0) state_.notify_all();

  draw_chunks(0);

  std::uint32_t state = state_.fetch_and(~kOpen) & ~kOpen;
  const auto empty = [&] {
    state = state_.load(std::memory_order_acquire);
    return (state & kInside) == 0;
  };
  while (!spin_until(empty)) state_.wait(state);
}

bool ThreadPool::join_open_region() {
  std::uint32_t state = state_.load();
  while ((state & kOpen) != 0) {
    if (state_.compare_exchange_weak(state, state + 1)) return true;
  }
  return false;
}

void ThreadPool::leave_region() {
  const std::uint32_t state = state_.fetch_sub(1) - 1;
  if ((state & (kOpen | kInside)) == 0) state_.notify_all();
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;  // region last worked on, or found closed
  for (;;) {
    const auto fresh = [&] {
      const std::uint32_t state = state_.load(std::memory_order_acquire);
      return (state & ~(kRegion - 1)) != seen && ((state & kOpen) != 0 || stop_.load());
    };
    if (!spin_until(fresh)) {
      sleepers_.fetch_add(1);
      for (std::uint32_t state = state_.load(); !fresh(); state = state_.load()) state_.wait(state);
      sleepers_.fetch_sub(1);
    }
    if (stop_.load()) return;
    seen = state_.load() & ~(kRegion - 1);
    if (join_open_region()) {
      seen = state_.load() & ~(kRegion - 1);
      draw_chunks(thread);
      leave_region();
    }
  }
}

}  // namespace vramplan::cpu
