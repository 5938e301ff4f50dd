#include "executor/shared_device.h"

namespace vramplan {
namespace {

constexpr Bytes kGranule{256};

}  // namespace

SharedDevice::SharedDevice(cuda::Runtime& runtime, Bytes size)
    : runtime_(runtime),
      size_(size),
      base_(static_cast<std::byte*>(runtime.allocate(size))),
      made_here_(true) {}

SharedDevice::SharedDevice(cuda::Runtime& runtime, const cuda::MemoryHandle& handle, Bytes size)
    : runtime_(runtime),
      size_(size),
      base_(static_cast<std::byte*>(runtime.open_memory(handle, size))),
      made_here_(false) {}

SharedDevice::~SharedDevice() {
  if (made_here_)
    runtime_.release(base_);
  else
    runtime_.close_memory(base_);
}

Region SharedDevice::reserve(Bytes size, const std::string& purpose) {
  const Bytes aligned = round_up(size, kGranule);
  if (aligned > size_ - cut_) {
    throw Error(ErrorCode::kOutOfPlan, purpose + " needs " + std::to_string(size.n) +
                                           " B of shared device memory, " +
                                           std::to_string((size_ - cut_).n) + " B are left");
  }
  Region region{base_ + cut_.n, size, next_id_++};
  cut_ += aligned;
  return region;
}

}  // namespace vramplan
