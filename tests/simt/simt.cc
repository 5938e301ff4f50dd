#include "simt.h"

#include <cstring>

#include "block_run.h"
#include "quiet.h"

namespace simt {
namespace {

thread_local Enqueue enqueue_hook = nullptr;

/// What is copied counts as read and written by the fiber that runs this.
void perform(const Copy& copy) {
  std::memcpy(copy.to, copy.from, copy.valid);
  std::memset(copy.to + copy.valid, 0, copy.bytes - copy.valid);
}

}  // namespace

Schedule::Schedule(std::uint64_t seed) : previous_(block_run().seed) { block_run().seed = seed; }
Schedule::~Schedule() { block_run().seed = previous_; }
std::uint64_t current_seed() { return block_run().seed; }

void launch(const char* kernel, Dim3 grid, Dim3 block, std::size_t dynamic_shared_bytes,
            const std::function<void()>& body) {
  block_run().launch(kernel, grid, block, dynamic_shared_bytes, body);
}

void set_enqueue(Enqueue enqueue) { enqueue_hook = enqueue; }
Enqueue current_enqueue() { return enqueue_hook; }
Counts counts() { return block_run().total; }

const Dim3& thread_index() { return block_run().self().index; }
const Dim3& block_index() { return block_run().block_index_; }
const Dim3& block_dim() { return block_run().block_; }
const Dim3& grid_dim() { return block_run().grid_; }
std::uint32_t lane() { return block_run().self().linear % kWarpLanes; }

void barrier(Site site) { block_run().barrier(site); }

void collective(const char* name, Operation operation, void* payload, std::uint32_t mask,
                Ordering ordering, Site site) {
  block_run().collective(name, operation, payload, mask, ordering, site);
}

void* shared(const void* key, std::size_t bytes, Site site) {
  BlockRun& run = block_run();
  void* memory = nullptr;
  {
    const Quiet quiet;
    memory = run.arena_.take(key, bytes, text(site));
  }
  if (run.arena_.bytes_taken() > kSharedLimit) {
    fault("shared memory above " + std::to_string(kSharedLimit) + " bytes a block", site);
  }
  if (bytes > kStaticSharedLimit) fault("static shared memory above 48 KiB", site);
  return memory;
}

void* dynamic_shared() { return block_run().dynamic_; }
void yield_point() { block_run().yield_point(); }
void fault(const std::string& what, Site site) { block_run().fault(what, site); }

void async_copy(void* to, const void* from, std::size_t bytes, std::size_t valid_bytes, Site site) {
  const auto misaligned = [&](const void* p) {
    return reinterpret_cast<std::uintptr_t>(p) % bytes != 0;
  };
  if ((bytes != 4 && bytes != 8 && bytes != 16) || valid_bytes > bytes || misaligned(to) ||
      misaligned(from)) {
    fault("cp.async of " + std::to_string(bytes) + " bytes: size or alignment", site);
  }
  const Copy copy{static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes,
                  valid_bytes};
  if (block_run().copy_at_once()) {
    perform(copy);
  } else {
    const Quiet quiet;
    block_run().self().open.push_back(copy);
  }
}

void async_commit() {
  const Quiet quiet;
  Thread& me = block_run().self();
  me.groups.push_back(std::move(me.open));
  me.open.clear();
}

void async_wait(int groups_left) {
  Thread& me = block_run().self();
  while (me.groups.size() > static_cast<std::size_t>(groups_left)) {
    for (const Copy& copy : me.groups.front()) perform(copy);
    const Quiet quiet;
    me.groups.pop_front();
  }
}

}  // namespace simt
