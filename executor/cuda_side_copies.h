#pragma once
// CudaSideCopies: copies on a stream of their own, between pinned host memory and the device.
#include <vector>

#include "executor/side_copies.h"
#include "kernels/cuda/runtime.h"

namespace vramplan {

/// A stream that goes when this goes.
struct CudaStream {
  explicit CudaStream(cuda::Runtime& r) : runtime(r), value(r.make_stream()) {}
  ~CudaStream() { runtime.destroy(value); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  cuda::Runtime& runtime;
  cuda::Stream value;
};

inline cuda::CopyKind copy_kind(HostCopy way) {
  return way == HostCopy::kToHost ? cuda::CopyKind::kToHost : cuda::CopyKind::kToDevice;
}

class CudaSideCopies final : public SideCopies {
 public:
  /// The stream is made with the first mark: a run that never asks has one stream.
  CudaSideCopies(cuda::Runtime& runtime, cuda::Stream computing)
      : runtime_(runtime), computing_(computing) {}
  ~CudaSideCopies() override;
  CudaSideCopies(const CudaSideCopies&) = delete;
  CudaSideCopies& operator=(const CudaSideCopies&) = delete;

  void follow_computing() override;
  void copy(void* to, const void* from, Bytes size, HostCopy way) override;
  std::size_t make_mark() override;
  void set_mark(std::size_t mark) override;
  void hold_computing(std::size_t mark) override;
  void wait(std::size_t mark) override;

 private:
  cuda::Runtime& runtime_;
  cuda::Stream computing_, copies_;
  cuda::Event computed_;
  std::vector<cuda::Event> marks_;
};

}  // namespace vramplan
