#include "async_units.h"

#include <cstring>

#include "block_run.h"
#include "quiet.h"

#if VRAMPLAN_SIMT_TSAN
#include <sanitizer/tsan_interface.h>
#else
inline void __tsan_acquire(void*) {}
inline void __tsan_release(void*) {}
#endif

namespace simt {
namespace {

CountingBarrier& barrier_at(const std::uint64_t* barrier, Site site) {
  auto& all = block_run().async.counting;
  const auto found = all.find(barrier);
  if (found == all.end()) fault("an mbarrier that was not initialised", site);
  return found->second;
}

/// Ends the phase when nothing is left to wait for.
void advance(CountingBarrier& b) {
  if (b.pending != 0 || b.bytes != 0) return;
  b.parity ^= 1U;
  b.pending = b.arrivals;
  const Quiet quiet;
  std::vector<std::pair<Thread*, std::uint32_t>> still;
  for (const auto& [thread, parity] : b.waiting) {
    if (parity == b.parity) {
      still.emplace_back(thread, parity);
    } else {
      block_run().wake(*thread);
    }
  }
  b.waiting.swap(still);
}

/// One row of 64 elements after the other; in shared memory the swizzle follows the address.
void land(const BoxCopy& copy) {
  const std::uint32_t to = shared_address(copy.to, Site::here());
  std::byte* const origin = copy.to - to;
  for (int r = 0; r < copy.map.box_rows; ++r) {
    for (int chunk = 0; chunk < 8; ++chunk) {
      const std::uint32_t byte = to + static_cast<std::uint32_t>(r * 128 + chunk * 16);
      std::byte* const into = origin + (byte ^ (((byte >> 7) & 7U) << 4));
      const std::int64_t row = copy.row + r, column = copy.column + 8 * chunk;
      const bool inside =
          row < copy.map.rows && column < copy.map.width && copy.block < copy.map.blocks;
      if (inside) {
        std::memcpy(into,
                    copy.map.base + copy.block * copy.map.block_stride +
                        2 * (row * copy.map.width + column),
                    16);
      } else {
        std::memset(into, 0, 16);
      }
    }
  }
}

void land_all(CountingBarrier& b) {
  if (b.copies.empty()) return;
  __tsan_acquire(&b.tag);  // whoever started them
  for (const BoxCopy& copy : b.copies) {
    land(copy);
    b.bytes -= 128 * copy.map.box_rows;
  }
  {
    const Quiet quiet;
    b.copies.clear();
  }
  __tsan_release(&b.tag);
}

}  // namespace

void barrier_init(std::uint64_t* barrier, std::uint32_t arrivals, Site site) {
  if (reinterpret_cast<std::uintptr_t>(barrier) % 8 != 0 || arrivals == 0) {
    fault("mbarrier.init: alignment or count", site);
  }
  const Quiet quiet;
  CountingBarrier& b = block_run().async.counting[barrier];
  if (b.arrivals != 0) fault("an mbarrier is initialised twice", site);
  b.arrivals = b.pending = arrivals;
}

void barrier_arrive(std::uint64_t* barrier, std::int64_t bytes, Site site) {
  CountingBarrier& b = barrier_at(barrier, site);
  if (b.pending == 0) fault("more arrivals at an mbarrier than it counts", site);
  __tsan_release(&b.tag);
  b.bytes += bytes;
  --b.pending;
  advance(b);
}

void barrier_wait(std::uint64_t* barrier, std::uint32_t parity, Site site) {
  CountingBarrier& b = barrier_at(barrier, site);
  yield_point();
  if (b.parity == parity) {
    land_all(b);
    advance(b);
  }
  if (b.parity == parity) {
    {
      const Quiet quiet;
      b.waiting.emplace_back(&block_run().self(), parity);
    }
    block_run().wait("mbarrier", site);
  }
  __tsan_acquire(&b.tag);
}

void copy_box(void* to, const TensorMap& map, int column, int row, int block,
              std::uint64_t* barrier, Site site) {
  CountingBarrier& b = barrier_at(barrier, site);
  if (shared_address(to, site) % 128 != 0 || map.box_rows < 1 || map.box_rows > 256) {
    fault("cp.async.bulk.tensor: alignment or box", site);
  }
  if (column < 0 || row < 0 || block < 0) fault("cp.async.bulk.tensor: place", site);
  shared_address(static_cast<std::byte*>(to) + 128 * map.box_rows - 1, site);  // is inside
  __tsan_release(&b.tag);
  {
    const Quiet quiet;
    b.copies.push_back({static_cast<std::byte*>(to), map, column, row, block});
  }
  if (!b.waiting.empty() || block_run().copy_at_once()) {
    land_all(b);
    advance(b);
  }
}

void named_barrier(int id, int threads, bool waits, Site site) {
  if (id < 1 || id > 15 || threads < 32 || threads % 32 != 0) fault("bar: id or count", site);
  NamedBarrier* barrier = nullptr;
  {
    const Quiet quiet;
    barrier = &block_run().async.named[id];
  }
  if (barrier->arrived > 0 && barrier->threads != threads) {
    fault("bar: threads disagree on the count of barrier " + std::to_string(id), site);
  }
  barrier->threads = threads;
  char* const tag = &barrier->tags[barrier->turn % 2];
  __tsan_release(tag);
  if (++barrier->arrived == threads) {
    barrier->arrived = 0;
    ++barrier->turn;
    const Quiet quiet;
    for (Thread* thread : barrier->waiting) block_run().wake(*thread);
    barrier->waiting.clear();
  } else if (waits) {
    {
      const Quiet quiet;
      barrier->waiting.push_back(&block_run().self());
    }
    block_run().wait("bar.sync", site);
  }
  if (waits) __tsan_acquire(tag);
}

std::uint32_t shared_address(const void* p, Site site) {
  constexpr std::uint32_t kBase = 128;
  const BlockRun& run = block_run();
  const auto offset =
      static_cast<const std::byte*>(p) - static_cast<const std::byte*>(run.dynamic_);
  if (run.dynamic_ == nullptr || offset < 0 ||
      offset >= static_cast<std::ptrdiff_t>(run.dynamic_bytes_)) {
    fault("an address outside dynamic shared memory", site);
  }
  return kBase + static_cast<std::uint32_t>(offset);
}

}  // namespace simt
