#pragma once
// Device memory for kernel tests on a GPU; tests/simt/fiber_memory.h is that of the fibers.
#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>

#include "kernels/cuda/kernels.h"

namespace vramplan::cuda_test {

inline std::string why_no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return std::string("no CUDA device: ") + cudaGetErrorString(status);
  return count > 0 ? "" : "no CUDA device: the driver reports none";
}

/// Empty where the warpgroup kernels run.
inline std::string why_no_warpgroups() {
#if VRAMPLAN_SM_90A
  int device = 0, major = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  return major == 9 ? "" : "warpgroup kernels need compute capability 9.0";
#else
  return "this build has no machine code for sm_90a";
#endif
}

inline void require(cudaError_t status, const char* call) {
  if (status != cudaSuccess) {
    throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(status));
  }
}

/// Starts as 0xFF bytes (NaN); reading waits for all kernels.
class Memory {
 public:
  explicit Memory(std::size_t bytes) : bytes_(bytes) {
    require(cudaMalloc(&data_, bytes > 0 ? bytes : 1), "cudaMalloc");
    require(cudaMemset(data_, 0xFF, bytes), "cudaMemset");
  }
  ~Memory() { cudaFree(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  void* data() const { return data_; }
  void write(const void* from, std::size_t bytes) {
    require(cudaMemcpy(data_, from, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  void read(void* to, std::size_t bytes) const {
    require(cudaDeviceSynchronize(), "a kernel");
    require(cudaMemcpy(to, data_, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// The device has its own schedules.
inline void for_each_schedule(const std::function<void()>& check) { check(); }

}  // namespace vramplan::cuda_test
