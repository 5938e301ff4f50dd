#pragma once
// SharedTier: memory that this process and those it forks see as the same pages: a file in RAM that
// nobody can write any more once it is sealed.
#include "executor/tier.h"

namespace vramplan {

class SharedTier final : public Tier {
 public:
  /// Of the device tier's kind: on a CPU the same memory. `capacity` as for make_host_tier.
  explicit SharedTier(Bytes capacity) : capacity_(capacity) {}
  ~SharedTier() override;
  SharedTier(const SharedTier&) = delete;
  SharedTier& operator=(const SharedTier&) = delete;

  TierKind kind() const override { return TierKind::kDevice; }
  Bytes capacity() const override { return capacity_; }
  Bytes free_now() const override;
  /// One region at a time. Errors: as Tier, and kOutOfPlan when the system refuses.
  Region reserve(Bytes size, const std::string& purpose) override;
  void release(Region& region) override;

  /// From now on the region can be read, at the same address, and written by nobody: not here, not
  /// in a forked process, not by mapping the file again. All its pages are there. Errors: kIo.
  void seal();
  bool sealed() const { return sealed_; }

 private:
  void close_file();

  Bytes capacity_, reserved_;
  std::byte* data_ = nullptr;
  int file_ = -1;
  bool sealed_ = false;
};

}  // namespace vramplan
