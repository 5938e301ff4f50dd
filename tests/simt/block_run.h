#pragma once
// BlockRun: what runs the fibers of a launch, block after block, and lets them meet. Of simt.cc
// alone.
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async_units.h"
#include "fiber.h"
#include "shared_arena.h"
#include "simt.h"

namespace simt {

enum class State : std::uint8_t { kReady, kBarrier, kCollective, kWaiting, kDone };

struct Copy {
  std::byte* to;
  const std::byte* from;
  std::size_t bytes, valid;
};

struct Thread {
  Fiber fiber;
  Dim3 index;
  std::uint32_t linear = 0;
  State state = State::kDone;
  Site site;
  const char* name = nullptr;  // of the collective it waits in
  std::uint32_t mask = 0;
  // For ThreadSanitizer: what this thread brings to a meeting of its warp and takes from it.
  char meeting = 0;
  unsigned barriers = 0;                 // passed; chooses the tag of the next one
  std::vector<Copy> open;                // cp.async not yet committed
  std::deque<std::vector<Copy>> groups;  // committed, oldest first
  Products products;
};

/// The lanes of a warp that wait in a collective, so that one that arrives need not look at the
/// other 31. `alike`: all of them in the same one, named here.
struct WarpMeeting {
  std::uint32_t waiting = 0, gone = 0, existing = 0;  // a bit a lane
  bool alike = true;
  std::uint32_t mask = 0;
  const char* name = nullptr;
  Site site;
  void* payloads[32] = {};
};

struct Random {
  std::uint64_t state;
  std::uint64_t next() {  // splitmix64
    std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
};

class BlockRun {
 public:
  void launch(const char* kernel, Dim3 grid, Dim3 block, std::size_t dynamic_bytes,
              const std::function<void()>& body);
  void barrier(Site site);
  void collective(const char* name, Operation operation, void* payload, std::uint32_t mask,
                  Ordering ordering, Site site);
  void yield_point();
  /// Until wake() by another thread.
  void wait(const char* name, Site site);
  void wake(Thread& thread) { make_ready(thread); }
  [[noreturn]] void fault(const std::string& what, Site site);
  Thread& self() { return *current_; }
  /// A copy may land at any time until its wait: seed 0 leaves all to the wait, others half of
  /// them.
  bool copy_at_once() { return seed_ != 0 && random_.below(2) == 0; }
  std::uint64_t seed = 0;  // of the next launch
  Counts total;

  const char* kernel_ = nullptr;
  Dim3 grid_, block_, block_index_;
  SharedArena arena_;
  void* dynamic_ = nullptr;
  std::size_t dynamic_bytes_ = 0;
  AsyncUnits async;

 private:
  void check_limits(std::size_t dynamic_bytes);
  void run_block(Dim3 index, std::size_t dynamic_bytes);
  void schedule();
  std::size_t pick(std::size_t head);
  void stuck();
  void make_ready(Thread& thread);
  std::uint32_t meet_others(const char* name, std::uint32_t mask, Site site);
  void exchange(std::uint32_t warp, std::uint32_t mask);
  void suspend();
  std::string where(const Thread& thread) const;
  static void thread_main(void* argument);
  [[noreturn]] void raise(const std::string& what);

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<WarpMeeting> warps_;
  std::vector<Thread*> ready_;
  std::uint32_t live_ = 0, at_barrier_ = 0, thread_count_ = 0;
  Thread* current_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  std::string failure_;
  std::exception_ptr thrown_;
  Random random_{0};
  std::uint64_t seed_ = 0;
  std::uint32_t last_warp_ = 0;
  // For ThreadSanitizer. Two tags of barriers by turns: a thread that runs ahead reaches the next
  // barrier before others have left this one.
  char started_ = 0, ended_ = 0, barriers_[2] = {};
};

/// "sample.cuh:51".
std::string text(const Site& site);
/// That of this operating-system thread.
BlockRun& block_run();

}  // namespace simt
