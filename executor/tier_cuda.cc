#include "executor/tier_cuda.h"

#include <algorithm>

#include "executor/process_memory.h"

namespace vramplan {
namespace {

constexpr Bytes kGranule{256};

[[noreturn]] void missing(const std::string& purpose, Bytes size, Bytes left, const char* of) {
  throw Error(ErrorCode::kOutOfPlan,
              purpose + " needs " + to_text(size) + " (" + std::to_string(size.n) + " B) of " + of +
                  ", " + std::to_string(left.n) +
                  " B are left: " + std::to_string((size - left).n) + " B are missing");
}

}  // namespace

CudaDeviceTier::CudaDeviceTier(cuda::Runtime& runtime, Bytes capacity)
    : runtime_(runtime), capacity_(capacity) {}

CudaDeviceTier::~CudaDeviceTier() {
  VRAMPLAN_CHECK(live_ == 0);
  if (all_ != nullptr) runtime_.release(all_);
}

void CudaDeviceTier::reserve_all(Bytes size) {
  VRAMPLAN_CHECK(live_ == 0 && size.n >= 0);
  if (all_ != nullptr) runtime_.release(all_);
  all_ = nullptr;
  all_size_ = cut_ = {};
  const Bytes left = std::min(capacity_, runtime_.memory().free);
  if (size > left) missing("the reservation of all regions", size, left, "device memory");
  if (size.n == 0) return;
  all_ = static_cast<std::byte*>(runtime_.allocate(size));
  all_size_ = size;
}

Bytes CudaDeviceTier::free_now() const {
  if (all_ != nullptr) return all_size_ - cut_;
  return std::min(capacity_, runtime_.memory().free);
}

Region CudaDeviceTier::reserve(Bytes size, const std::string& purpose) {
  if (all_ == nullptr && size.n > 0) missing(purpose, size, {}, "a reservation nobody made");
  const Bytes aligned = round_up(size, kGranule);
  if (aligned > all_size_ - cut_) missing(purpose, size, all_size_ - cut_, "the reservation");
  Region region{size.n > 0 ? all_ + cut_.n : nullptr, size, next_id_++};
  cut_ += aligned;
  ++live_;
  return region;
}

void CudaDeviceTier::release(Region& region) {
  if (region.id < 0) return;
  region = {};
  // Regions of a rank come and go together.
  if (--live_ == 0) cut_ = {};
}

CudaHostTier::~CudaHostTier() { VRAMPLAN_CHECK(reserved_ == Bytes{0}); }

Bytes CudaHostTier::capacity() const { return reserved_ + machine_available(); }
Bytes CudaHostTier::free_now() const { return machine_available(); }

Region CudaHostTier::reserve(Bytes size, const std::string& purpose) {
  const Bytes left = machine_available();
  if (left.n > 0 && size > left) missing(purpose, size, left, "host memory");
  Region region{nullptr, size, next_id_++};
  if (size.n > 0) region.data = static_cast<std::byte*>(runtime_.allocate_pinned(size));
  reserved_ += size;
  return region;
}

void CudaHostTier::release(Region& region) {
  if (region.id < 0) return;
  if (region.data != nullptr) runtime_.release_pinned(region.data);
  reserved_ -= region.size;
  region = {};
}

}  // namespace vramplan
