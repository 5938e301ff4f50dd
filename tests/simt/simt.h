#pragma once
// SIMT on a CPU: runs CUDA kernels that were compiled as C++. Each CUDA thread is a fiber, blocks
// run one after another, and the order of threads and of blocks comes from a seed. Lanes of a warp
// do not run in lock step, so code that relies on it fails. Not a performance model, and
// sequentially consistent: a missing __threadfence goes unseen.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

// What lanes exchange in a meeting is no race.
#if defined(__clang__)
#define VRAMPLAN_NO_RACES __attribute__((no_sanitize("thread")))
#else
#define VRAMPLAN_NO_RACES
#endif

namespace simt {

struct Dim3 {
  std::uint32_t x = 1, y = 1, z = 1;
  constexpr Dim3() = default;
  constexpr Dim3(std::uint32_t x_, std::uint32_t y_ = 1, std::uint32_t z_ = 1)  // NOLINT: as dim3
      : x(x_), y(y_), z(z_) {}
  std::uint64_t count() const { return std::uint64_t{x} * y * z; }
};

/// A place in the source, by default that of the call.
struct Site {
  const char* file = nullptr;
  int line = 0;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  friend bool operator==(const Site&, const Site&) = default;
};

/// A kernel that breaks the rules of CUDA: divergent barrier, missing lane, redzone written, launch
/// limits. The text names the kernel, block, thread, source line and the seed of the schedule.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The order in which threads and blocks run while it lives. 0: ascending; otherwise, by turns, the
/// latest first, at random, and at random with one warp running ahead.
class Schedule {
 public:
  explicit Schedule(std::uint64_t seed);
  ~Schedule();
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

 private:
  std::uint64_t previous_;
};

/// The seed of the schedule that runs now.
std::uint64_t current_seed();

/// Limits of the device that is stood in for: sm_90.
inline constexpr std::uint32_t kMaxThreads = 1024, kWarpLanes = 32;
inline constexpr std::size_t kStaticSharedLimit = 48 * 1024;
inline constexpr std::size_t kSharedLimit = 227 * 1024;

/// Runs `body` once for every thread of grid x block and returns when all are done.
/// Errors: Fault.
void launch(const char* kernel, Dim3 grid, Dim3 block, std::size_t dynamic_shared_bytes,
            const std::function<void()>& body);

/// Called with every launch instead of running it at once, so that a fake runtime can queue it on
/// its stream. nullptr: run at once.
using Enqueue = void (*)(void* stream, std::function<void()> work);
void set_enqueue(Enqueue enqueue);
Enqueue current_enqueue();

struct Counts {
  std::uint64_t launches = 0, switches = 0;
};
Counts counts();

// What follows is called by kernels, from inside a launch.

const Dim3& thread_index();
const Dim3& block_index();
const Dim3& block_dim();
const Dim3& grid_dim();
std::uint32_t lane();

/// All threads of the block meet; all at the same source line.
void barrier(Site site);
/// Whether a meeting of lanes makes what each wrote before visible to the others: __syncwarp does,
/// shuffles and votes only exchange their own values. ThreadSanitizer is told.
enum class Ordering : std::uint8_t { kValues, kMemory };
/// The lanes of `mask` meet; the last one runs operation(payload of each lane, mask), where payload
/// of a lane outside the mask is null.
using Operation = void (*)(void* const* payload, std::uint32_t mask);
void collective(const char* name, Operation operation, void* payload, std::uint32_t mask,
                Ordering ordering, Site site);
/// Shared memory of the block: the same pointer for every thread that names the same `key`. Filled
/// with 0xFF (a NaN) and fenced by redzones that are checked when the block ends.
void* shared(const void* key, std::size_t bytes, Site site);
void* dynamic_shared();
/// Lets other threads run (a schedule decides whether).
void yield_point();
/// Reports a broken rule; does not return.
[[noreturn]] void fault(const std::string& what, Site site);

/// cp.async: copies that happen at the wait or, in schedules other than 0, some at once.
void async_copy(void* to, const void* from, std::size_t bytes, std::size_t valid_bytes, Site site);
void async_commit();
void async_wait(int groups_left);

}  // namespace simt
