#include "block_run.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "device_memory.h"
#include "quiet.h"

#if VRAMPLAN_SIMT_TSAN
#include <sanitizer/tsan_interface.h>
#else
inline void __tsan_acquire(void*) {}
inline void __tsan_release(void*) {}
#endif

namespace simt {
namespace {

std::string text(const Dim3& d) {
  return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," + std::to_string(d.z) + ")";
}

}  // namespace

std::string text(const Site& site) {
  const char* slash = site.file == nullptr ? nullptr : std::strrchr(site.file, '/');
  return std::string(slash != nullptr       ? slash + 1
                     : site.file != nullptr ? site.file
                                            : "?") +
         ":" + std::to_string(site.line);
}

BlockRun& block_run() {
  static thread_local BlockRun instance;
  return instance;
}

std::string BlockRun::where(const Thread& thread) const {
  return "thread " + text(thread.index) + " (warp " + std::to_string(thread.linear / kWarpLanes) +
         " lane " + std::to_string(thread.linear % kWarpLanes) + ")";
}

void BlockRun::raise(const std::string& what) {
  throw Fault("kernel " + std::string(kernel_) + ", block " + text(block_index_) + ", seed " +
              std::to_string(seed_) + ": " + what);
}

void BlockRun::fault(const std::string& what, Site site) {
  if (current_ == nullptr) throw Fault(what + " at " + text(site) + ", outside a launch");
  {
    const Quiet quiet;
    failure_ = where(*current_) + " at " + text(site) + ": " + what;
  }
  for (;;) current_->fiber.suspend();  // the scheduler sees failure_ and never comes back
}

void BlockRun::check_limits(std::size_t dynamic_bytes) {
  const std::uint64_t threads = block_.count();
  if (threads == 0 || threads > kMaxThreads) {
    raise(std::to_string(threads) + " threads a block, allowed are 1 to 1024");
  }
  if (block_.z > 64) raise("block z is " + std::to_string(block_.z) + ", allowed are up to 64");
  if (grid_.count() == 0 || grid_.x > 0x7fffffffU || grid_.y > 65535 || grid_.z > 65535) {
    raise("grid " + text(grid_) + " is outside 1..2^31-1, 1..65535, 1..65535");
  }
  if (dynamic_bytes > kSharedLimit) {
    raise(std::to_string(dynamic_bytes) + " bytes of shared memory, a block has " +
          std::to_string(kSharedLimit));
  }
}

void BlockRun::launch(const char* kernel, Dim3 grid, Dim3 block, std::size_t dynamic_bytes,
                      const std::function<void()>& body) {
  kernel_ = kernel;
  grid_ = grid;
  block_ = block;
  block_index_ = Dim3(0, 0, 0);
  body_ = &body;
  seed_ = seed;
  random_ = Random{seed_};
  ++total.launches;
  check_limits(dynamic_bytes);
  const std::uint64_t blocks = grid.count();
  // A random order of blocks: i -> (i * step + start) mod blocks with step coprime to blocks.
  std::uint64_t start = 0, step = 1;
  if (seed_ != 0 && blocks > 1) {
    start = random_.below(blocks);
    do step = 1 + random_.below(blocks - 1);
    while (std::gcd(step, blocks) != 1);
  }
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint64_t b = (start + i * step) % blocks;
    run_block(
        {static_cast<std::uint32_t>(b % grid.x), static_cast<std::uint32_t>(b / grid.x % grid.y),
         static_cast<std::uint32_t>(b / grid.x / grid.y)},
        dynamic_bytes);
  }
  const std::string damage = DeviceMemory::damage();
  if (!damage.empty()) raise(damage);
}

void BlockRun::thread_main(void* argument) {
  auto& thread = *static_cast<Thread*>(argument);
  BlockRun& run = block_run();
  __tsan_acquire(&run.started_);
  try {
    (*run.body_)();
  } catch (...) {
    run.thrown_ = std::current_exception();
  }
  __tsan_release(&run.ended_);
  thread.state = State::kDone;
  run.warps_[thread.linear / kWarpLanes].gone |= 1U << thread.linear % kWarpLanes;
  --run.live_;
  for (;;) thread.fiber.suspend();
}

void BlockRun::run_block(Dim3 index, std::size_t dynamic_bytes) {
  block_index_ = index;
  thread_count_ = static_cast<std::uint32_t>(block_.count());
  while (threads_.size() < thread_count_) threads_.push_back(std::make_unique<Thread>());
  arena_.reset();
  dynamic_bytes_ = dynamic_bytes;
  async.counting.clear();
  async.named.clear();
  dynamic_ = dynamic_bytes == 0 ? nullptr : arena_.take(&dynamic_, dynamic_bytes, "dynamic shared");
  ready_.clear();
  live_ = thread_count_;
  at_barrier_ = 0;
  failure_.clear();
  thrown_ = nullptr;
  __tsan_release(&started_);
  for (std::uint32_t i = 0; i < thread_count_; ++i) {
    Thread& thread = *threads_[i];
    thread.index = {i % block_.x, i / block_.x % block_.y, i / block_.x / block_.y};
    thread.linear = i;
    thread.barriers = 0;
    thread.open.clear();
    thread.groups.clear();
    thread.products.open.clear();
    thread.products.groups.clear();
    thread.fiber.start(&thread_main, &thread);
    make_ready(thread);
  }
  warps_.assign((thread_count_ + kWarpLanes - 1) / kWarpLanes, {});
  for (std::uint32_t i = 0; i < thread_count_; ++i) {
    warps_[i / kWarpLanes].existing |= 1U << i % kWarpLanes;
  }
  schedule();
  __tsan_acquire(&ended_);
  for (const auto& [address, barrier] : async.counting) {
    if (!barrier.copies.empty()) raise("a box was copied that no thread waited for");
  }
  const std::string damage = arena_.damage();
  if (!damage.empty()) raise(damage);
}

void BlockRun::make_ready(Thread& thread) {
  const Quiet quiet;
  thread.state = State::kReady;
  ready_.push_back(&thread);
}

/// Which of ready_[head..) runs next. Seed 0: first come, first served. Others take turns: the last
/// to come (so threads start from the highest), any, or another lane of the warp that ran last,
/// which lets single warps run far ahead.
std::size_t BlockRun::pick(std::size_t head) {
  if (seed_ == 0) return head;
  if (seed_ % 3 == 1) return ready_.size() - 1;
  const std::size_t any = head + random_.below(ready_.size() - head);
  if (seed_ % 3 == 2) return any;
  for (std::size_t i = head; i < ready_.size(); ++i) {
    if (ready_[i]->linear / kWarpLanes == last_warp_) return i;
  }
  return any;
}

/// Runs ready threads until all are done.
void BlockRun::schedule() {
  std::size_t head = 0;
  while (live_ > 0) {
    if (head == ready_.size()) stuck();
    std::swap(ready_[head], ready_[pick(head)]);
    last_warp_ = ready_[head]->linear / kWarpLanes;
    current_ = ready_[head++];
    if (head == ready_.size() || head > 4096) {
      ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(head));
      head = 0;
    }
    ++total.switches;
    current_->fiber.resume();
    current_ = nullptr;
    if (!failure_.empty()) raise(failure_);
    if (thrown_) std::rethrow_exception(thrown_);
  }
}

/// No thread can run although some are alive: says who waits where.
void BlockRun::stuck() {
  const Thread* waiting = nullptr;
  const Thread* elsewhere = nullptr;
  const Thread* gone = nullptr;
  for (std::uint32_t i = 0; i < thread_count_; ++i) {
    const Thread& t = *threads_[i];
    if (t.state == State::kDone) {
      if (gone == nullptr) gone = &t;
    } else if (waiting == nullptr) {
      waiting = &t;
    } else if (t.state != waiting->state || t.site != waiting->site) {
      if (elsewhere == nullptr) elsewhere = &t;
    }
  }
  const auto kind = [](const Thread& t) {
    return std::string(t.state == State::kBarrier ? "__syncthreads" : t.name) + " at " +
           text(t.site);
  };
  std::string what = "deadlock: " + where(*waiting) + " waits in " + kind(*waiting);
  if (elsewhere != nullptr) what += "; " + where(*elsewhere) + " in " + kind(*elsewhere);
  if (gone != nullptr) what += "; " + where(*gone) + " has returned";
  raise(what);
}

void BlockRun::wait(const char* name, Site site) {
  Thread& me = self();
  me.state = State::kWaiting;
  me.site = site;
  me.name = name;
  suspend();
}

void BlockRun::suspend() { self().fiber.suspend(); }

void BlockRun::barrier(Site site) {
  Thread& me = self();
  for (std::uint32_t i = 0; at_barrier_ > 0 && i < thread_count_; ++i) {
    const Thread& t = *threads_[i];
    if (t.state != State::kBarrier) continue;
    if (!(t.site == site)) {
      fault("divergent __syncthreads: " + where(t) + " is at " + text(t.site), site);
    }
    break;
  }
  char* meeting = &barriers_[me.barriers++ % 2];
  __tsan_release(meeting);
  me.state = State::kBarrier;
  me.site = site;
  if (++at_barrier_ == thread_count_) {
    at_barrier_ = 0;
    for (std::uint32_t i = 0; i < thread_count_; ++i) make_ready(*threads_[i]);
  }
  suspend();
  __tsan_acquire(meeting);
}

/// The lanes that wait for this one in the same collective. Errors: a fault that names the lane of
/// the mask that cannot come, or that is in another one.
std::uint32_t BlockRun::meet_others(const char* name, std::uint32_t mask, Site site) {
  const std::uint32_t own = self().linear % kWarpLanes, warp = self().linear - own;
  std::uint32_t arrived = 0;
  for (std::uint32_t l = 0; l < kWarpLanes; ++l) {
    if (l == own) continue;
    const bool named = ((mask >> l) & 1U) != 0;
    if (warp + l >= thread_count_) {
      if (named) fault(std::string(name) + ": lane " + std::to_string(l) + " does not exist", site);
      continue;
    }
    const Thread& t = *threads_[warp + l];
    if (named && t.state == State::kDone) {
      fault(std::string(name) + ": lane " + std::to_string(l) + " of the mask has returned", site);
    }
    if (t.state != State::kCollective || (t.mask & mask) == 0) continue;
    if (t.mask != mask || t.name != name || !(t.site == site)) {
      fault(std::string(name) + ": lane " + std::to_string(l) + " is in " + t.name + " at " +
                text(t.site) + (t.mask != mask ? " with another mask" : ""),
            site);
    }
    arrived |= 1U << l;
  }
  return arrived;
}

void BlockRun::collective(const char* name, Operation operation, void* payload, std::uint32_t mask,
                          Ordering ordering, Site site) {
  Thread& me = self();
  const std::uint32_t own = me.linear % kWarpLanes, warp = me.linear - own;
  if (((mask >> own) & 1U) == 0) fault(std::string(name) + ": this lane is not in its mask", site);
  WarpMeeting& w = warps_[me.linear / kWarpLanes];
  const bool first = w.waiting == 0;
  if (first) w.alike = true, w.mask = mask, w.name = name, w.site = site;
  w.alike = w.alike && w.mask == mask && w.name == name && w.site == site;
  const bool all_can_come = (mask & (w.gone | ~w.existing)) == 0;
  const std::uint32_t others = w.alike && all_can_come ? w.waiting : meet_others(name, mask, site);
  const bool orders = ordering == Ordering::kMemory;
  if (orders) __tsan_release(&me.meeting);
  me.state = State::kCollective;
  me.site = site;
  me.name = name;
  me.mask = mask;
  w.waiting |= 1U << own;
  w.payloads[own] = payload;
  if ((others | 1U << own) == mask) {
    void* payloads[kWarpLanes] = {};
    for (std::uint32_t l = 0; l < kWarpLanes; ++l) {
      if (((mask >> l) & 1U) != 0) payloads[l] = w.payloads[l];
    }
    w.waiting &= ~mask;
    operation(payloads, mask);
    if (orders) exchange(warp, mask);
    for (std::uint32_t l = 0; l < kWarpLanes; ++l) {
      if (((mask >> l) & 1U) != 0) make_ready(*threads_[warp + l]);
    }
  }
  suspend();
  if (orders) __tsan_acquire(&me.meeting);
}

/// What each lane of a meeting did before it is known to all of them afterwards.
void BlockRun::exchange(std::uint32_t warp, std::uint32_t mask) {
  for (std::uint32_t l = 0; l < kWarpLanes; ++l) {
    if (((mask >> l) & 1U) != 0) __tsan_acquire(&threads_[warp + l]->meeting);
  }
  for (std::uint32_t l = 0; l < kWarpLanes; ++l) {
    if (((mask >> l) & 1U) != 0) __tsan_release(&threads_[warp + l]->meeting);
  }
}

void BlockRun::yield_point() {
  if (current_ == nullptr || seed_ == 0 || random_.below(4) != 0) return;
  make_ready(self());
  suspend();
}

}  // namespace simt
