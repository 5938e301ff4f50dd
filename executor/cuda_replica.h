#pragma once
// CudaReplica: one of several processes that run a plan on one GPU over one copy of the weights:
// its place among them, and its part of the weights, made or opened.
#include <functional>
#include <memory>
#include <optional>

#include "executor/driver_memory.h"
#include "executor/need.h"
#include "executor/rank_engine.h"
#include "executor/shared_device.h"

namespace vramplan {

/// Written by the first replica before a meeting, read by the others after it: shared pages.
struct WeightsOffer {
  cuda::MemoryHandle handle;
  std::int64_t bytes = 0;
};

struct CudaReplica {
  int number = 0;
  std::function<void()> meet;  // waits for all others
  WeightsOffer* offer = nullptr;
  bool first() const { return number == 0; }
};
/// Meetings of a run: looked at from outside; weights there; engines ready; passes done; the driver
/// asked; weights closed.
inline constexpr int kCudaReplicaMeetings = 6;

/// Weights and the f32 copies of their vectors in one allocation, at the same offsets in every
/// process.
class CudaSharedWeights {
 public:
  /// The regions for them. Errors: those of SharedDevice.
  CudaSharedWeights(cuda::Runtime& runtime, const CudaReplica& replica, const RankNeed& need);
  CudaSharedWeights(const CudaSharedWeights&) = delete;
  CudaSharedWeights& operator=(const CudaSharedWeights&) = delete;

  /// Reads them as `options` say in the first replica; the others only find their places. Errors:
  /// those of load_weights.
  void load(const ModelSource& source, const Decisions& decisions, const ModelPart& part,
            Backend& backend, LoadOptions options);
  SharedWeights shared() { return {weights_, loaded_, &vectors_}; }
  /// Of weights, their padding and f32 copies.
  Bytes taken() const { return weights_.live() + vectors_.live(); }

 private:
  const CudaReplica& replica_;
  SharedDevice device_;
  Arena weights_, vectors_;
  LoadedWeights loaded_;
};

}  // namespace vramplan
