#include "executor/cuda_replica.h"

#include <utility>

namespace vramplan {
namespace {

SharedDevice device_of(cuda::Runtime& runtime, const CudaReplica& replica, Bytes size) {
  if (replica.first()) return SharedDevice(runtime, size);
  VRAMPLAN_CHECK(replica.offer->bytes == size.n);
  return SharedDevice(runtime, replica.offer->handle, size);
}

}  // namespace

CudaSharedWeights::CudaSharedWeights(cuda::Runtime& runtime, const CudaReplica& replica,
                                     const RankNeed& need)
    : replica_(replica),
      device_(device_of(runtime, replica, round_up(need.shared_bytes(), kDevicePage))),
      weights_(device_, need.sizes.weights, "the region of shared weights"),
      vectors_(device_, need.sizes.gpu.vectors, "the region of shared f32 norms and biases") {}

void CudaSharedWeights::load(const ModelSource& source, const Decisions& decisions,
                             const ModelPart& part, Backend& backend, LoadOptions options) {
  options.f32_vectors = &vectors_;
  options.upload = replica_.first() ? backend.upload() : nullptr;
  if (!replica_.first()) options.fill = WeightFill::kNone;
  loaded_ = load_weights(source, decisions, part, weights_, backend.ops(), options);
  backend.synchronize();
  if (replica_.first()) *replica_.offer = {device_.handle(), device_.capacity().n};
}

}  // namespace vramplan
