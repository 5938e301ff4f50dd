#pragma once
// Device memory and schedules for kernel tests on fibers; tests/gpu/gpu_memory.h is the device's.
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "device_memory.h"
#include "kernels/cuda/kernels.h"
#include "simt.h"

namespace vramplan::cuda_test {

inline std::string why_no_device() { return ""; }
inline std::string why_no_warpgroups() { return ""; }

class Memory {
 public:
  explicit Memory(std::size_t bytes) : memory_(bytes) {}
  void* data() const { return memory_.data(); }
  void write(const void* from, std::size_t bytes) { std::memcpy(memory_.data(), from, bytes); }
  void read(void* to, std::size_t bytes) const { std::memcpy(to, memory_.data(), bytes); }

 private:
  simt::DeviceMemory memory_;
};

/// How many schedules a test runs: VRAMPLAN_SCHEDULES, 4 by default.
inline int schedule_count() {
  const char* text = std::getenv("VRAMPLAN_SCHEDULES");
  const int count = text == nullptr ? 4 : std::atoi(text);
  return count > 0 ? count : 1;
}

/// check() under several schedules; the first runs threads in order. A test is to make its outputs
/// inside, so that each starts from NaN.
inline void for_each_schedule(const std::function<void()>& check) {
  for (int seed = 0; seed < schedule_count() && !::testing::Test::HasFailure(); ++seed) {
    const simt::Schedule schedule(static_cast<std::uint64_t>(seed));
    SCOPED_TRACE("schedule " + std::to_string(seed));
    check();
  }
}

}  // namespace vramplan::cuda_test
