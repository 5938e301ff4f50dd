#include "kernels/cuda/probe.h"

#if VRAMPLAN_CUDA
#include <cuda_runtime_api.h>
#endif

namespace vramplan::cuda {

#if VRAMPLAN_CUDA

Probe probe() {
  Probe result;
  result.built = true;
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    result.why_none = status == cudaSuccess ? "the driver reports no device" : cudaGetErrorString(status);
    return result;
  }
  for (int device = 0; device < count; ++device) {
    cudaDeviceProp properties{};
    std::size_t free = 0;
    std::size_t total = 0;
    if (cudaSetDevice(device) != cudaSuccess || cudaGetDeviceProperties(&properties, device) != cudaSuccess ||
        cudaMemGetInfo(&free, &total) != cudaSuccess) {
      result.why_none = std::string("device ") + std::to_string(device) + " cannot be read: " +
                        cudaGetErrorString(cudaGetLastError());
      continue;
    }
    result.devices.push_back({properties.name, Bytes{static_cast<std::int64_t>(total)},
                              Bytes{static_cast<std::int64_t>(free)}, properties.multiProcessorCount});
  }
  return result;
}

#else

Probe probe() { return {false, "this build has no CUDA (no toolkit was found when it was configured)", {}}; }

#endif

}  // namespace vramplan::cuda
