#include "kernels/cuda/runtime.h"

namespace vramplan::cuda {

using namespace literals;

const char* name_of(Status status) {
  static constexpr const char* kNames[] = {"cudaErrorMemoryAllocation",
                                           "cudaErrorNoDevice",
                                           "cudaErrorInsufficientDriver",
                                           "cudaErrorInvalidValue",
                                           "cudaErrorInvalidDevice",
                                           "cudaErrorInitializationError",
                                           "cudaErrorIllegalAddress",
                                           "cudaErrorLaunchFailure",
                                           "cudaErrorLaunchTimeout",
                                           "cudaErrorECCUncorrectable",
                                           "cudaErrorDevicesUnavailable",
                                           "cudaErrorStreamCaptureInvalidated",
                                           "cudaErrorUnknown"};
  return kNames[static_cast<int>(status)];
}

void call_failed(const std::string& call, Status status, const std::string& detail) {
  const std::string text =
      call + " failed: " + name_of(status) + (detail.empty() ? "" : ", ") + detail;
  switch (status) {
    case Status::kOutOfMemory:
      throw Error(ErrorCode::kOutOfPlan, text)
          .help("another process may have taken memory: plan again");
    case Status::kNoDevice:
    case Status::kInsufficientDriver:
    case Status::kInvalidDevice:
    case Status::kDevicesUnavailable:
    case Status::kInitializationError:
      throw Error(ErrorCode::kNoDevice, text).help("see that nvidia-smi lists the device");
    default:
      throw Error(ErrorCode::kIo, text)
          .help("the device's context is lost after some failures: start the program again");
  }
}

Bytes gemm_workspace_bytes(int major) {
  if (major >= 12) return 12_MiB;
  return major >= 9 ? 32_MiB : 4_MiB;
}

}  // namespace vramplan::cuda
