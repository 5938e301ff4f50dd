#pragma once
// CudaTier: device memory as one reservation that regions are cut from, and pinned host memory.
// Free memory is the driver's word, not our account.
#include <map>
#include <string>

#include "executor/tier.h"
#include "kernels/cuda/runtime.h"

namespace vramplan {

class CudaDeviceTier final : public Tier {
 public:
  /// At most `capacity` bytes in all. The runtime outlives the tier.
  CudaDeviceTier(cuda::Runtime& runtime, Bytes capacity);
  ~CudaDeviceTier() override;
  CudaDeviceTier(const CudaDeviceTier&) = delete;
  CudaDeviceTier& operator=(const CudaDeviceTier&) = delete;

  /// One allocation for all regions to come. Errors: kOutOfPlan with both numbers.
  void reserve_all(Bytes size);
  TierKind kind() const override { return TierKind::kDevice; }
  Bytes capacity() const override { return capacity_; }
  /// Of the reservation when there is one, else the driver's, within the capacity.
  Bytes free_now() const override;
  Region reserve(Bytes size, const std::string& purpose) override;
  void release(Region& region) override;

 private:
  cuda::Runtime& runtime_;
  Bytes capacity_, all_size_, cut_;
  std::byte* all_ = nullptr;
  int next_id_ = 0, live_ = 0;
};

class CudaHostTier final : public Tier {
 public:
  explicit CudaHostTier(cuda::Runtime& runtime) : runtime_(runtime) {}
  ~CudaHostTier() override;

  TierKind kind() const override { return TierKind::kHost; }
  Bytes capacity() const override;
  Bytes free_now() const override;
  Region reserve(Bytes size, const std::string& purpose) override;
  void release(Region& region) override;
  Bytes reserved() const { return reserved_; }

 private:
  cuda::Runtime& runtime_;
  Bytes reserved_;
  int next_id_ = 0;
};

}  // namespace vramplan
