#include "kernels/cuda/probe.h"

#include "kernels/cuda/driver.h"

namespace vramplan::cuda {

Probe probe() {
  Probe result;
  try {
    const std::unique_ptr<Runtime> runtime = driver().make_runtime();
    result.built = true;
    const int count = runtime->device_count(result.why_none);
    for (int device = 0; device < count; ++device) {
      try {
        const DeviceProperties properties = runtime->properties(device);
        runtime->use_device(device);
        const MemoryInfo memory = runtime->memory();
        result.devices.push_back(
            {properties.name, memory.total, memory.free, properties.multiprocessors});
      } catch (const Error& error) {
        result.why_none =
            "device " + std::to_string(device) + " cannot be read: " + error.message();
      }
    }
  } catch (const Error& error) {
    result.why_none = error.message();
  }
  return result;
}

}  // namespace vramplan::cuda
