#pragma once
// SharedDevice: device memory that several processes have: one makes it, the others open it by the
// driver's handle and read it where it is.
#include "executor/tier.h"
#include "kernels/cuda/runtime.h"

namespace vramplan {

class SharedDevice final : public Tier {
 public:
  /// Made here, and released when this goes: after all others have closed theirs. Errors: those of
  /// Runtime::allocate.
  SharedDevice(cuda::Runtime& runtime, Bytes size);
  /// Another process's, `size` as it was made. Errors: those of Runtime::open_memory.
  SharedDevice(cuda::Runtime& runtime, const cuda::MemoryHandle& handle, Bytes size);
  ~SharedDevice() override;
  SharedDevice(const SharedDevice&) = delete;
  SharedDevice& operator=(const SharedDevice&) = delete;

  /// For other processes; of memory that was made here.
  cuda::MemoryHandle handle() const { return runtime_.export_memory(base_); }

  TierKind kind() const override { return TierKind::kDevice; }
  Bytes capacity() const override { return size_; }
  Bytes free_now() const override { return size_ - cut_; }
  /// The same regions in the same order lie at the same places in every process.
  Region reserve(Bytes size, const std::string& purpose) override;
  void release(Region& region) override { region = {}; }

 private:
  cuda::Runtime& runtime_;
  Bytes size_, cut_;
  std::byte* base_ = nullptr;
  bool made_here_;
  int next_id_ = 0;
};

}  // namespace vramplan
