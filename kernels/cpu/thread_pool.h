#pragma once
// ThreadPool: worker threads that live as long as the pool. The calling thread takes part; work is
// cut into chunks that threads draw from one counter, so a worker that sleeps or was preempted
// delays nobody: a region ends when its chunks are done, not when every worker has arrived.
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace vramplan::cpu {

class ThreadPool {
 public:
  /// threads >= 1, the caller included. Errors: kUsage when threads < 1 or > 1024.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(begin, end, thread) for chunks of at most `chunk` items that cover [0, count) once;
  /// thread in [0, size()). Returns when all are done. The body must not throw and must not call
  /// the pool again. One caller at a time.
  template <class Body>
  void parallel_for(std::int64_t count, std::int64_t chunk, const Body& body) {
    if (count <= 0) return;
    if (workers_.empty() || count <= chunk) {
      body(std::int64_t{0}, count, 0);
      return;
    }
    run(count, chunk, &body, [](const void* b, std::int64_t begin, std::int64_t end, int thread) {
      (*static_cast<const Body*>(b))(begin, end, thread);
    });
  }

 private:
  using Call = void (*)(const void* body, std::int64_t begin, std::int64_t end, int thread);
  void run(std::int64_t count, std::int64_t chunk, const void* body, Call call);
  void work(int thread);
  void draw_chunks(int thread);
  bool join_open_region();
  void leave_region();

  // state_: bits 31..16 count regions, bit 15 = open, bits 14..0 = workers inside.
  static constexpr std::uint32_t kOpen = 1U << 15;
  static constexpr std::uint32_t kInside = kOpen - 1;
  static constexpr std::uint32_t kRegion = 1U << 16;
  alignas(64) std::atomic<std::uint32_t> state_{0};
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<std::int64_t> next_{0};
  // The region's job: written only while the region is closed and no worker is inside.
  alignas(64) std::int64_t count_ = 0;
  std::int64_t chunk_ = 1;
  const void* body_ = nullptr;
  Call call_ = nullptr;
  std::vector<std::thread> workers_;
};

}  // namespace vramplan::cpu
