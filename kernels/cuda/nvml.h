#pragma once
// Nvml: the few questions to NVIDIA's management library, opened by name at run time (it belongs to
// the driver, not to the toolkit). It sees the device without making a context, and the memory of
// every process on it.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace vramplan::cuda {

class Nvml {
 public:
  virtual ~Nvml() = default;
  /// By UUID ("GPU-..."), since the numbering differs from CUDA's. Empty when the library cannot
  /// say.
  virtual std::optional<MemoryInfo> memory(const std::string& uuid) = 0;
  virtual std::optional<std::vector<DeviceProcess>> processes(const std::string& uuid) = 0;
  virtual std::optional<DeviceClocks> clocks(const std::string& uuid) = 0;
};

/// Null when the library is not there or does not start.
std::unique_ptr<Nvml> open_nvml();

}  // namespace vramplan::cuda
